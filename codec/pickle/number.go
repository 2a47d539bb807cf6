package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/dictwire/dictwire/fault"
)

// long pushes an int of two's complement bytes, little-endian.
func (m *machine) long(from, to int) bool {
	b := m.src[from:to]
	switch {
	case len(b) > 8:
		m.push(content(kindLong, from, len(b)))
	case len(b) == 0:
		m.push(scalar(kindInt, 0))
	default:
		var word [8]byte
		copy(word[:], b)
		unused := 64 - 8*len(b)
		m.push(scalar(kindInt, uint64(int64(binary.LittleEndian.Uint64(word[:])<<unused)>>unused)))
	}
	return true
}

// decimalInt pushes an int that is written in decimal digits, or a bool.
func (m *machine) decimalInt(line []byte, op byte) bool {
	switch number := line; {
	case op == opInt && string(line) == "01":
		m.push(scalar(kindBool, 1))
	case op == opInt && string(line) == "00":
		m.push(scalar(kindBool, 0))
	default:
		if n := len(line); op == opLong && n > 0 && line[n-1] == 'L' {
			number = line[:n-1]
		}
		magnitude := number
		if len(number) > 0 && number[0] == '-' {
			magnitude = number[1:]
		}
		if !isNumber(magnitude) {
			return m.fail(fault.Malformed, fmt.Sprintf("want decimal digits, got %.20q", line))
		}
		if len(magnitude) < 19 {
			i, _ := strconv.ParseInt(string(number), 10, 64)
			m.push(scalar(kindInt, uint64(i)))
			break
		}
		at := len(m.own)
		m.own = append(m.own, number...)
		m.pushOwn(kindDigits, at, false)
	}
	return true
}

// isNumber reports whether b is decimal digits without a leading zero.
func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) == 1 || len(b) > 1 && b[0] != '0'
}

// decimalFloat pushes a float that is written as repr does.
func (m *machine) decimalFloat(line []byte) bool {
	f, err := parseFloat(line)
	if err != nil {
		return m.fail(fault.Malformed, fmt.Sprintf("want a float as repr writes it, got %.40q", line))
	}
	m.push(scalar(kindFloat, math.Float64bits(f)))
	return true
}

func parseFloat(line []byte) (float64, error) {
	switch string(line) {
	case "nan", "inf", "-inf":
	default:
		for _, c := range line {
			if (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' && c != 'e' {
				return 0, strconv.ErrSyntax
			}
		}
	}
	return strconv.ParseFloat(string(line), 64)
}
