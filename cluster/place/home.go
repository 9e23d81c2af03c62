package place

import "math/bits"

// Home returns the user's home: the back end whose score is lowest, where a
// score is -log2(u)/weight and u is a hash of user and back end, uniform
// between 0 and 1. That is weighted rendezvous hashing: the scores are
// exponential variables, and the lowest of them is back end i with probability
// weight[i] / sum of weights. A back end's score depends on no other back end,
// so a change moves only users who come to or leave the one that changed.
//
// Homes are over the back ends that are up, with local storage over all. It is
// false when there are none, or all weigh nothing.
func Home(k Key, v View) (Backend, bool) {
	if len(v.homes) == 0 {
		return Backend{}, false
	}
	best := v.homes[0]
	low := negLog2(mix(uint64(k) ^ best.hash))
	for _, c := range v.homes[1:] {
		score := negLog2(mix(uint64(k) ^ c.hash))
		// score/c.weight < low/best.weight, without a division. Equal ones
		// stay with the lower name.
		if score*best.weight < low*c.weight {
			best, low = c, score
		}
	}
	return v.backends[best.index], true
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014; constants of
// Stafford's variant 13): a bijection in which every input bit flips every
// output bit with probability one half. Key and name hash are uniform already;
// it makes their combinations independent.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Shape of the fixed-point logarithm.
const (
	fracBits  = 40                        // binary places of a logarithm
	indexBits = 8                         // the table has 2^8 steps
	lerpBits  = 30                        // binary places between two steps
	lerpShift = 63 - indexBits - lerpBits // the bits below are dropped
	lerpMask  = uint64(1)<<lerpBits - 1
	indexMask = uint64(1)<<indexBits - 1
	one       = uint64(1) << fracBits
	_         = 64 * one * MaxWeight // the largest product in Home; does not compile if it overflows
)

// negLog2 returns -log2(h / 2^64) in units of 2^-40, with an error below 3e-6
// (the table is joined by straight lines). It is at least 1 unit and at most
// 64·2^40; a zero counts as one.
//
// Integers because floating-point logarithms differ in the last place between
// CPUs and library versions, and one user in a million would have two homes.
func negLog2(h uint64) uint64 {
	h |= 1
	zeros := bits.LeadingZeros64(h)
	m := h << zeros // 1.xxx, the one is bit 63
	i := m >> (63 - indexBits) & indexMask
	part := m >> lerpShift & lerpMask
	low, high := log2Table[i], log2Table[i+1]
	return uint64(zeros+1)<<fracBits - low - (high-low)*part>>lerpBits
}
