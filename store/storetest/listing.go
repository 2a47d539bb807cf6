package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dictwire/dictwire/store"
)

// testBacklog compares Backlog with what Read yields, from every position. Stores this
// small need not estimate.
func testBacklog(t *testing.T, d Driver) {
	s := d.Open(t)
	ctx := t.Context()
	w, _ := claim(t, s, producer("b", "w"), store.ClaimRequest{})
	for i := range 40 {
		w.append(t, i%3+1)
		appendLoose(t, s, []string{"a", "a.x", "c"}[i%3], `{}`)
	}
	all := readAll(t, s, store.Position{}, store.ReadOptions{})
	compare := func(topics []string) {
		t.Helper()
		for _, from := range append(slices.Clone(all.at), store.Position{}, all.next) {
			want := len(readAll(t, s, from, store.ReadOptions{Topics: topics}).records)
			if got, err := s.Backlog(ctx, from, topics); err != nil || got != uint64(want) {
				t.Fatalf("Backlog of %v from %v: %d, %v, want %d", topics, from, got, err, want)
			}
		}
	}
	compare([]string{"a.*"})
	compare([]string{"b", "c"})
	compare([]string{"*"})
	if err := s.Trim(ctx, "b", all.at[len(all.at)/2]); err != nil {
		t.Fatal(err)
	}
	compare([]string{"b", "c"})
	_, err := s.Backlog(ctx, store.Position{Tag: "another1", Block: 1}, []string{"b"})
	wantErr(t, "a position of another store", err, store.ErrPosition)
}

func testKnown(t *testing.T, d Driver) {
	servers := d.servers(t)
	var want []store.Producer
	for _, principal := range []string{"", "p", "p\xff", "q"} {
		for i := range 7 {
			p := store.Producer{Principal: principal, Topic: []string{"a", "a.b", "a-b"}[i%3], Name: fmt.Sprint("n", i)}
			w, _ := claim(t, servers[0], p, store.ClaimRequest{})
			w.append(t, i+1)
			if principal == "p" {
				want = append(want, p)
			}
		}
	}
	slices.SortFunc(want, store.Producer.Compare)
	if err := servers[0].Forget(t.Context(), want[3]); err != nil {
		t.Fatal(err)
	}
	want = slices.Delete(want, 3, 4)
	for _, s := range servers {
		var got []store.Producer
		after := store.Producer{Principal: "p"}
		for {
			page, err := s.Known(t.Context(), after, 2)
			if err != nil || len(page) > 2 {
				t.Fatalf("%d producers, want at most 2: %v", len(page), err)
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].Producer
			for _, p := range page {
				got = append(got, p.Producer)
				if n := p.Name[1] - '0'; p.Next != uint64(n)+2 || p.Seen.IsZero() {
					t.Fatalf("%+v, want the number %d", p, n+2)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Known: %q, want %q", got, want)
		}
	}
}
