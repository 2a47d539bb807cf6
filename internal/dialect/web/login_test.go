package web

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Logins expire, and their number is limited per principal and in total. One more login
// ends the oldest of the same principal, never another's.
func TestLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l logins
		begin := func(who string) string {
			value, ok := l.begin(who, "token of "+who)
			if !ok {
				t.Fatalf("%s can't log in", who)
			}
			time.Sleep(time.Second)
			return value
		}
		blue, red := begin("blue"), begin("red")
		for range ownLogins {
			if _, ok := l.token(red); !ok {
				t.Error("a login has ended too early")
			}
			begin("red")
		}
		if _, ok := l.token(red); ok {
			t.Errorf("%d logins of one principal last", ownLogins+1)
		}
		if token, _ := l.token(blue); token != "token of blue" {
			t.Errorf("the other's is %q", token)
		}
		for i := 0; len(l.all) < maxLogins; i++ {
			if _, ok := l.begin(fmt.Sprint(i), ""); !ok {
				t.Fatalf("%d logins, and no more", len(l.all))
			}
		}
		if _, ok := l.begin("one more", ""); ok {
			t.Error("there is room for any number")
		}
		begin("red")
		time.Sleep(loginTime)
		if _, ok := l.token(blue); ok {
			t.Error("a login has no end")
		}
		if begin("one more"); len(l.all) != 1 {
			t.Errorf("%d logins are kept after their end", len(l.all)-1)
		}
	})
}
