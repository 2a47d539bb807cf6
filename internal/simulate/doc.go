// Package simulate runs whole systems in one process, in virtual time: the real server and
// its store on a disk that forgets, clients, and a network that delays, cuts and drops. In
// the end it compares what everyone was told with what the store has.
//
// Its tests are the package. A seed determines who takes part and what happens to them. It
// is printed with a trace if a promise was broken:
//
//	go test ./internal/simulate -run TestSimulate -first 4711 -seeds 1
//
// The promises:
//
//   - What was acknowledged is stored, or in "_rejected", once, in the order of
//     its producer's numbers. Nothing is there that was not sent.
//   - A reader that commits what it has done misses nothing, and is shown nothing
//     that is not durable.
//   - A store that has lost something, and two logs with one name, are reported as
//     errors to those affected, and to nobody else.
//   - When the faults end, everyone makes progress.
package simulate
