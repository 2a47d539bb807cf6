// Package half reads floats of 16 bits.
package half

import "math"

// Float64 returns the float of IEEE 754 binary16.
func Float64(h uint16) float64 {
	exp, fraction := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(fraction+1024, exp-25)
	switch exp {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 31:
		if v = math.Inf(1); fraction != 0 {
			v = math.NaN()
		}
	}
	return math.Copysign(v, 1-2*float64(h>>15))
}
