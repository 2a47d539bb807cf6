// Package corpus makes the records that tests and benchmarks share: different
// from each other, alike in kind, and the same for the same seed.
package corpus

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Small returns n JSON records of about 45 bytes, the exercise's dictionary with
// other names, ages and cities:
//
//	{"name": "Alice", "age": 30, "city": "Paris"}
func Small(seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	records := make([][]byte, n)
	for i := range records {
		records[i] = fmt.Appendf(nil, `{"name": %q, "age": %d, "city": %q}`, pick(r, names), r.IntN(100), pick(r, cities))
	}
	return records
}

// Events returns n JSON records of about 500 bytes: log lines, orders and
// measurements of several programs, each with its own keys; one in three as
// Python's json.dumps writes it, the others without white space.
func Events(seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 2))
	records := make([][]byte, n)
	for i := range records {
		w := &writer{r: r, comma: ",", colon: ":"}
		if i%3 == 0 {
			w.comma, w.colon = ", ", ": "
		}
		switch r.IntN(3) {
		case 0:
			w.logLine()
		case 1:
			w.order()
		default:
			w.measurement()
		}
		records[i] = []byte(w.b.String())
	}
	return records
}

// A writer writes one record.
type writer struct {
	r            *rand.Rand
	b            strings.Builder
	comma, colon string
	first        bool // no key was written since the last brace
}

func (w *writer) open() {
	w.b.WriteByte('{')
	w.first = true
}

func (w *writer) close() {
	w.b.WriteByte('}')
	w.first = false
}

// A number is a JSON number or word as it is written.
type number string

// key writes a key, and value, unless that is nil.
func (w *writer) key(key string, value any) {
	if !w.first {
		w.b.WriteString(w.comma)
	}
	w.first = false
	fmt.Fprintf(&w.b, "%q%s", key, w.colon)
	switch v := value.(type) {
	case nil:
	case string:
		text, _ := json.Marshal(v) // a string always can be
		w.b.Write(text)
	default:
		fmt.Fprint(&w.b, v)
	}
}

func (w *writer) logLine() {
	r := w.r
	w.open()
	w.key("timestamp", fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02d.%06dZ", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6)))
	w.key("level", pick(r, []string{"debug", "info", "info", "info", "warning", "error"}))
	w.key("service", pick(r, services))
	w.key("host", fmt.Sprintf("%s-%d.%s", pick(r, services), r.IntN(40), pick(r, []string{"eu-west-1", "us-east-2", "ap-south-1"})))
	w.key("request_id", fmt.Sprintf("%08x-%04x-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<16), r.Uint64()>>16))
	w.key("user_id", r.IntN(1e6))
	w.key("method", pick(r, []string{"GET", "POST", "PUT", "DELETE"}))
	w.key("path", fmt.Sprintf("/v1/%s/%d", pick(r, services), r.IntN(1e5)))
	w.key("status", number(pick(r, []string{"200", "201", "204", "404", "500"})))
	w.key("duration_ms", number(fmt.Sprintf("%.3f", r.ExpFloat64()*20)))
	w.key("bytes", r.IntN(1e5))
	w.key("client", nil)
	w.open()
	w.key("ip", fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)))
	w.key("port", 1024+r.IntN(60000))
	w.key("agent", "Mozilla/5.0 (X11; Linux x86_64) "+pick(r, names))
	w.close()
	w.key("retry", r.IntN(2) == 0)
	w.key("error", number("null"))
	w.key("message", w.sentence(6))
	w.close()
}

func (w *writer) order() {
	r := w.r
	w.open()
	w.key("order", r.Uint32())
	w.key("customer", nil)
	w.open()
	w.key("name", pick(r, names)+" "+pick(r, []string{"Müller", "Ng", "García", "O'Neil", "佐藤", "Smith"}))
	w.key("street", fmt.Sprintf("%s %d", w.sentence(2), r.IntN(200)))
	w.key("city", pick(r, cities))
	w.key("vip", r.IntN(2) == 0)
	w.close()
	w.key("items", nil)
	w.b.WriteByte('[')
	for i := range 2 + r.IntN(3) {
		if i > 0 {
			w.b.WriteString(w.comma)
		}
		w.open()
		w.key("sku", fmt.Sprintf("%c%c-%05d", 'A'+r.IntN(26), 'A'+r.IntN(26), r.IntN(1e5)))
		w.key("quantity", 1+r.IntN(9))
		w.key("price", number(fmt.Sprintf("%.2f", r.Float64()*500)))
		w.key("note", w.sentence(r.IntN(4)))
		w.close()
	}
	w.b.WriteByte(']')
	w.key("total", number(fmt.Sprintf("%.2f", r.Float64()*2000)))
	w.key("currency", pick(r, []string{"EUR", "USD", "JPY"}))
	w.key("coupon", number("null"))
	w.key("comment", w.sentence(4)+"\n\""+w.sentence(3)+"\"")
	w.close()
}

func (w *writer) measurement() {
	r := w.r
	w.open()
	w.key("device", fmt.Sprintf("sensor/%s/%04d", pick(r, cities), r.IntN(1e4)))
	w.key("at", number(fmt.Sprintf("%d.%06d", 1_790_000_000+r.IntN(1e7), r.IntN(1e6))))
	w.key("firmware", fmt.Sprintf("%d.%d.%d", r.IntN(9), r.IntN(20), r.IntN(100)))
	for i := range 6 + r.IntN(8) {
		w.key(fmt.Sprintf("%s_%d", pick(r, []string{"temperature", "humidity", "pressure", "voltage", "rpm"}), i), r.NormFloat64()*100)
	}
	w.key("samples", nil)
	w.b.WriteByte('[')
	for i := range 12 {
		if i > 0 {
			w.b.WriteString(w.comma)
		}
		fmt.Fprint(&w.b, r.IntN(4096))
	}
	w.b.WriteByte(']')
	w.key("ok", r.IntN(10) > 0)
	w.key("remark", w.sentence(3))
	w.close()
}

// sentence returns some words, now and then with text beyond ASCII.
func (w *writer) sentence(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = pick(w.r, vocabulary)
	}
	return strings.Join(words, " ")
}

func pick(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }

var (
	names      = []string{"Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Mallory", "Niaj", "Olivia", "Peggy", "Rupert", "Sybil", "Trent", "Victor", "Walter", "Yan"}
	cities     = []string{"Paris", "Berlin", "Lagos", "Lima", "Osaka", "Cairo", "Oslo", "Quito", "Rome", "Seoul", "Tunis", "Vienna", "Warsaw", "Austin", "Bogota"}
	services   = []string{"checkout", "catalog", "search", "billing", "auth", "gateway", "mailer", "stock"}
	vocabulary = []string{"order", "created", "payment", "timeout", "after", "retry", "upstream", "cache", "miss", "for", "key", "user", "session", "expired", "straße", "café", "queue", "full", "ok", "deleted", "item", "not", "found", "in", "shard", "rebalanced"}
)
