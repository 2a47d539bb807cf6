package dictwire_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
)

// Counters follow what is sent.
func TestClientStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := dictwiretest.NewServer(t, refuser())
		sendAsync(t, srv.Client, 3)
		if _, err := srv.Client.Send(t.Context(), "t", dict.Of("do", "reject")); err == nil {
			t.Error("it was not rejected")
		}
		if st := srv.Client.Stats(); st.Sessions != 1 || st.Pending != 0 || st.Topics["t"].Settled != 4 || st.Topics["t"].Rejected != 1 || st.Topics["t"].Bytes == 0 {
			t.Errorf("%+v", st)
		}
		srv.Refuse(true)
		srv.Cut()
		sendAsync(t, srv.Client, 1)
		time.Sleep(time.Minute)
		if st := srv.Client.Stats(); st.Sessions != 0 || st.Broken == 0 || st.Pending != 1 || st.Topics["t"].Pending != 1 {
			t.Errorf("%+v", st)
		}
	})
}
