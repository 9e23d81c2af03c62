package load

// OpenBounded is Open with another bound than InFlight.
var OpenBounded = open
