//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package auth

import "io/fs"

// lockDir does nothing: this system has no lock that ends with its process.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }

// othersWrite reports false: permissions do not tell on this system.
func othersWrite(fs.FileInfo) bool { return false }
