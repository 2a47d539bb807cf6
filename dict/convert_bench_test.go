package dict_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/dictwire/dictwire/dict"
)

type person struct {
	Name   string `json:"name"`
	Age    int    `json:"age"`
	City   string `json:"city"`
	Active bool   `json:"active"`
}

type order struct {
	ID       string            `json:"id"`
	At       time.Time         `json:"at"`
	Customer *person           `json:"customer"`
	Lines    []line            `json:"lines"`
	Tags     map[string]string `json:"tags"`
	Note     string            `json:"note,omitempty"`
	Total    float64           `json:"total"`
}

type line struct {
	Article string  `json:"article"`
	Count   int     `json:"count"`
	Price   float64 `json:"price"`
}

var (
	alice    = person{"Alice", 30, "Paris", true}
	anOrder  = order{ID: "o-17", At: time.Date(2026, 11, 29, 10, 0, 0, 123_000_000, time.UTC), Customer: &alice, Lines: []line{{"nut", 3, 0.25}, {"bolt", 4, 1.5}}, Tags: map[string]string{"a": "b", "c": "d"}, Total: 6.75}
	aliceMap = map[string]any{"name": "Alice", "age": 30, "city": "Paris", "active": true}
)

// convertBench compares the conversion of a Go value with encoding/json.
func convertBench[T any](b *testing.B, name string, v T) {
	text, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	d, err := dict.From(v)
	if err != nil {
		b.Fatal(err)
	}
	run := func(way, by string, f func() error) {
		b.Run(way+"/"+name+"/by="+by, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("from", "dictwire", func() error { _, err := dict.From(v); return err })
	run("from", "std", func() error { _, err := json.Marshal(v); return err })
	run("to", "dictwire", func() error { var v T; return d.To(&v) })
	run("to", "std", func() error { var v T; return json.Unmarshal(text, &v) })
}

func BenchmarkConvert(b *testing.B) {
	convertBench(b, "struct", alice)
	convertBench(b, "map", aliceMap)
	convertBench(b, "order", anOrder)
}
