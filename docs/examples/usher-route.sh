#!/bin/sh
# Announces the route of bird.conf while usher is ready, and withdraws it when
# usher drains or does not answer twice in a row: within three seconds, before its
# listeners close (withdraw, 8 s). Runs for ever; see usher-route.service.
usher=${USHER:-/usr/bin/usher check-health --ready}
birdc=${BIRDC:-birdc}

missed=0 announced=
while :; do
  if $usher >/dev/null 2>&1; then
    missed=0
    [ "$announced" = yes ] || { $birdc enable usher >/dev/null && announced=yes; }
  else
    missed=$((missed + 1))
    if [ "$missed" -ge 2 ] && [ "$announced" != no ]; then
      $birdc disable usher >/dev/null && announced=no
    fi
  fi
  sleep 1
done
