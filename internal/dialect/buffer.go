package dialect

import (
	"math/bits"
	"sync"
)

// buffers holds spare buffers by the binary logarithm of their size.
var buffers [32]sync.Pool // of *[]byte

// getBuffer returns a buffer of the given size.
func getBuffer(size int) []byte {
	class := bits.Len(uint(size - 1))
	if class < len(buffers) && size == 1<<class {
		if b, ok := buffers[class].Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, size)
}

// putBuffer takes a buffer back. Those of odd sizes are left to the collector.
func putBuffer(b []byte) {
	class := bits.Len(uint(len(b) - 1))
	if len(b) > 0 && class < len(buffers) && len(b) == 1<<class {
		buffers[class].Put(&b)
	}
}
