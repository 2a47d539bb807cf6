package dict_test

import (
	"fmt"
	"log"

	"github.com/dictwire/dictwire/dict"
)

func ExampleOf() {
	fmt.Println(dict.Of("name", "Alice", "age", 30, "tags", []string{"a", "b's"}))
	// Output: {'name': 'Alice', 'age': 30, 'tags': ['a', "b's"]}
}

func ExampleFrom() {
	type person struct {
		Name  string   `dict:"name"`
		Age   int      `json:"age"`
		Notes []string `dict:"notes,omitempty"`
	}
	d, err := dict.From(person{Name: "Alice", Age: 30})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d)
	// Output: {'name': 'Alice', 'age': 30}
}

// A Temperature defines its own value: a float.
type Temperature struct{ celsius float64 }

func (t Temperature) DictValue() (dict.Value, error) { return dict.Float(t.celsius), nil }

func (t *Temperature) SetDictValue(v dict.Value) error { return v.To(&t.celsius) }

func ExampleMarshaler() {
	type reading struct{ Inside, Outside Temperature }
	d, err := dict.From(reading{Temperature{21.5}, Temperature{-3}})
	fmt.Println(d, err)
	var back reading
	err = d.To(&back)
	fmt.Println(back, err)
	// Output:
	// {'Inside': 21.5, 'Outside': -3.0} <nil>
	// {{21.5} {-3}} <nil>
}

func ExampleDict_To() {
	var person struct {
		Name string `dict:"name"`
		Age  uint8  `dict:"age"`
	}
	err := dict.Of("name", "Alice", "age", 30, "city", "Paris").To(&person)
	fmt.Println(person, err)
	err = dict.Of("name", "Methuselah", "age", 969).To(&person)
	fmt.Println(err)
	// Output:
	// {Alice 30} <nil>
	// dict: /age: the int 969 does not fit in uint8
}

func ExampleDict_Get() {
	d := dict.Of("name", "Alice", "age", 30)
	age, ok := d.Get("age")
	years, isInt := age.Int()
	fmt.Println(years, isInt, ok)
	_, ok = d.Get("city")
	fmt.Println(ok)
	// Output:
	// 30 true true
	// false
}

func ExampleDict_All() {
	for k, v := range dict.Of("name", "Alice", 1, 2.0).All() {
		fmt.Println(k.Kind(), k, v.Kind(), v)
	}
	// Output:
	// string 'name' string 'Alice'
	// int 1 float 2.0
}

func ExampleDict_SetKey() {
	d := new(dict.Dict)
	for _, key := range []dict.Value{dict.Int(1), dict.Bool(true), dict.Float(1)} {
		if err := d.SetKey(key, dict.String(key.String())); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(d) // as in Python: the first key stays, the last value wins
	// Output: {1: '1.0'}
}

func ExampleAppendRepr() {
	v := dict.String("a\u0378")
	fmt.Printf("%s\n", dict.AppendRepr(nil, v, dict.Python311))
	fmt.Printf("%s\n", dict.AppendRepr(nil, dict.Float(1e16), dict.Python311))
	// Output:
	// 'a\u0378'
	// 1e+16
}
