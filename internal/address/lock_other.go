//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package address

// lockFile locks nothing: this system has no lock that ends with its process.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }
