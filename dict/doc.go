// Package dict holds dictionaries: ordered maps with unique keys and typed
// values, as Python programs send them.
//
//	d := dict.Of("name", "Alice", "age", 30, "city", "Paris")
//	d.Set("tags", dict.List(dict.String("a"), dict.Int(1)))
//	fmt.Println(d) // {'name': 'Alice', 'age': 30, 'city': 'Paris', 'tags': ['a', 1]}
//
//	age, ok := d.Get("age")
//	years, isInt := age.Int()
//
//	var person struct {
//		Name string `dict:"name"`
//		Age  int    `dict:"age"`
//	}
//	err := d.To(&person)
//
// # Guarantees
//
//   - Nothing is rounded, reordered or renamed: ints have any size, a float stays a
//     float, text may hold lone surrogates, keys keep their order and may be of any
//     hashable kind.
//   - Keys are equal as in Python (1, 1.0 and True are one key); values are equal
//     only if their kinds are, too ([Equal]).
//   - [AppendRepr] writes what CPython's repr returns, to the byte, for the version
//     of Python that is asked for.
//   - A [Value] never changes and may be shared between goroutines. A [Dict] is
//     safe for any number of readers.
//
// # Memory
//
// A decoded dictionary is a flat tape of 16-byte nodes over the bytes that it was
// decoded from: two allocations, whatever it holds. Those bytes are not copied:
// they must stay as they are while the dictionary, or a Value of it, is in use.
// [Dict.Clone] copies. tape.go draws the layout.
//
// # Limits
//
// One string holds less than 4 GiB, one dictionary less than 2³¹ values.
package dict
