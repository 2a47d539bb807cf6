package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// A Hash is what is kept of a token: its SHA-256. A token is random, so that nothing
// slower is needed to keep it from being guessed.
type Hash [sha256.Size]byte

// String returns the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashOf returns the hash of a token.
func HashOf(token string) Hash { return sha256.Sum256([]byte(token)) }

// tokenPrefix is what all tokens begin with, so that programs that look for secrets in
// the wrong places know one.
const tokenPrefix = "dw_"

// NewToken returns a new token: 256 random bits, as 46 letters, digits, - and _.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}
