// Package simulate runs whole systems in one process, in virtual time: the real
// server and its store on a disk that forgets, clients, and a network that
// delays, cuts and swallows. What everyone was told is held against what the
// store has in the end.
//
// Its tests are the package. A seed fixes who takes part and what happens to
// them; it is printed with a trace where a promise was broken:
//
//	go test ./internal/simulate -run TestSimulate -first 4711 -seeds 1
//
// The promises:
//
//   - What was acknowledged is stored, or in "_rejected", once, in the order of
//     its producer's numbers. Nothing is there that was not sent.
//   - A reader that commits what it has done misses nothing, and is shown nothing
//     that is not durable.
//   - A store that lost something, and two logs under one name, are errors to
//     whoever is concerned. Nobody is told of one that is not there.
//   - When the faults end, everyone gets on with his work.
package simulate
