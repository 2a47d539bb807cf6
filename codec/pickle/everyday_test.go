package pickle_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
)

// Everyday types pickled by Python 3.8 to 3.13, numpy 1 and 2 and pandas 2 and 3 are read
// as the plain values that the types themselves report. testdata/everyday.py made the file.
func TestEveryday(t *testing.T) {
	f, err := os.Open("testdata/everyday.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	names := make(map[string]int)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		b, err := hex.DecodeString(fields[3])
		if err != nil {
			t.Fatal(err)
		}
		names[fields[1]]++
		d, err := pickle.Codec{}.Decode(b, codec.Limits{})
		if err != nil {
			t.Errorf("%s, protocol %s: %v\n%q", fields[1], fields[0], err, b)
			continue
		}
		// OrderedDict has two reprs.
		if got := string(dict.AppendRepr(nil, d.Value(), dict.Python38)); got != fields[2] && d.String() != fields[2] {
			t.Errorf("%s, protocol %s: %s, want %s", fields[1], fields[0], got, fields[2])
		}
	}
	if len(names) < 75 {
		t.Errorf("only %d types", len(names))
	}
}

// A refused value is reported with its path and a remedy. The remedy, evaluated by this
// Python, makes a pickle that can be read.
func TestRemedies(t *testing.T) {
	const python = `
import collections, dataclasses, enum, pickle, re, sys, types
class Config(dict): pass
class Names(list): pass
class Tags(set): pass
class Plain:
    def __init__(self): self.a = 1
class Slots:
    __slots__ = ('a', 'b')
    def __init__(self): self.a, self.b = 1, 2
@dataclasses.dataclass
class Data: a: int = 1
@dataclasses.dataclass(frozen=True)
class Frozen:
    __slots__ = ('a',)
    a: int
    def __getstate__(self): return [self.a]
Point = collections.namedtuple('Point', 'x y')
One = collections.namedtuple('One', 'x')
class Color(enum.Enum): RED = 'r'
class Number(int): pass
class Text(str): pass
class MyError(Exception): pass
class Nothing: pass
for x, remedy in ((Config(a=1), 'dict(x)'), (Names([1]), 'list(x)'), (Tags({1}), 'list(x)'), (Plain(), 'vars(x)'),
                  (Slots(), '{k: getattr(x, k) for k in x.__slots__}'), (Data(), 'dataclasses.asdict(x)'), (Data(), 'vars(x)'),
                  (Frozen(1), 'dataclasses.asdict(x)'), (Point(1, 2), 'x._asdict()'), (One(1), 'x._asdict()'), (Color.RED, 'x.value'),
                  (Number(5), 'int(x)'), (Text('a'), 'str(x)'), (ValueError('bad'), 'str(x)'), (MyError('worse'), 'repr(x)'),
                  (KeyError('k'), 'str(x)'), (Nothing(), 'None'), (Plain, 'x.__name__'), (len, 'x.__name__'),
                  (types.SimpleNamespace(a=1), 'vars(x)'), (range(3), 'str(x)'), (re.compile('a'), 'str(x)'),
                  (collections.ChainMap({'a': 1}), 'vars(x)'), (collections.UserDict(a=1), 'vars(x)')):
    for protocol in range(6):
        if type(x) is Slots and protocol < 2:
            continue # Python refuses it itself
        print(type(x).__name__, protocol, *(pickle.dumps({'in': [0, {'deep': v}]}, protocol).hex() for v in (x, eval(remedy))), remedy, sep='\t')
`
	cmd := exec.Command("/usr/bin/python3", "-c", python)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		refused, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(line, err)
		}
		plain, err := hex.DecodeString(fields[3])
		if err != nil {
			t.Fatal(line, err)
		}
		_, err = pickle.Codec{}.Decode(refused, codec.Limits{})
		var bad *codec.SyntaxError
		if !errors.As(err, &bad) || bad.Code != fault.UnsafePickle || bad.Path != "/in/1/deep" || !strings.Contains(bad.Hint, fields[4]) {
			t.Errorf("%s, protocol %s: %v, hint %q, want %q", fields[0], fields[1], err, bad.Hint, fields[4])
		}
		if _, err := (pickle.Codec{}).Decode(plain, codec.Limits{}); err != nil {
			t.Errorf("%s, protocol %s: %s is no remedy: %v", fields[0], fields[1], fields[4], err)
		}
		n++
	}
	if n != 24*6-2 {
		t.Errorf("%d pickles", n)
	}
}
