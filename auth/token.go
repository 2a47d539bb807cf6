package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// A Hash is the SHA-256 of a token. Tokens are random, so no slower hash is needed to
// prevent guessing.
type Hash [sha256.Size]byte

// String returns the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashOf returns the hash of a token.
func HashOf(token string) Hash { return sha256.Sum256([]byte(token)) }

// tokenPrefix begins all tokens, so that secret scanners recognize them.
const tokenPrefix = "dw_"

// NewToken returns a new token: 256 random bits, as 46 letters, digits, - and _.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}
