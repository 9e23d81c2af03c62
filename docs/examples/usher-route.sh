#!/bin/sh
# Announces the route of bird.conf while usher is ready, and withdraws it when
# usher drains or does not answer twice in a row: within three seconds, before its
# listeners close (withdraw, 8 s). Runs for ever; see usher-route.service.
#
# BIRD is told each time, also what it knows: it forgets when it restarts or is
# given its configuration anew (birdc configure), and nobody would tell it again.
usher=${USHER:-/usr/bin/usher check-health --ready}
birdc=${BIRDC:-birdc}

missed=0
while :; do
  if $usher >/dev/null 2>&1; then
    missed=0
    $birdc enable usher >/dev/null
  else
    missed=$((missed + 1))
    [ "$missed" -lt 2 ] || $birdc disable usher >/dev/null
  fi
  sleep 1
done
