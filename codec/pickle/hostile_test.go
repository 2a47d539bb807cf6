package pickle_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/fault"
)

// in returns the pickle of {'a': …} with the value that the given opcodes make.
func in(opcodes string) string { return "\x80\x04}\x8c\x01a" + opcodes + "s." }

// le returns n in the given number of bytes, little-endian.
func le(n uint64, size int) string {
	return string(binary.LittleEndian.AppendUint64(nil, n)[:size])
}

// laughs returns opcodes for a list of ten lists of ten lists …, of the given depth, by
// references to the memo.
func laughs(depth int) string {
	var b strings.Builder
	b.WriteString("(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01l\x94")
	for i := range depth {
		b.WriteString("(" + strings.Repeat(fmt.Sprintf("h%c", i), 10) + "l\x94")
	}
	return b.String() + strings.Repeat("0", depth+1) + fmt.Sprintf("h%c", depth)
}

// hostile are pickles that are refused, with the code, the byte of the opcodes, and the
// text.
var hostile = []struct {
	name, pickle string
	code         fault.Code
	at           int
	want, hint   string
}{
	{"os.system", "cos\nsystem\n(S'id'\ntR.", fault.UnsafePickle, 0, "GLOBAL: os.system is refused", "plain data"},
	{"posix.system, protocol 4", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", fault.UnsafePickle, 17, "STACK_GLOBAL: posix.system is refused", "plain data"},
	{"eval", in("cbuiltins\neval\n\x8c\x011\x85R"), fault.UnsafePickle, 6, "builtins.eval is refused", "plain data"},
	{"eval of Python 2", in("c__builtin__\neval\n\x8c\x011\x85R"), fault.UnsafePickle, 6, "__builtin__.eval is refused", "plain data"},
	{"exec in a value after good ones", "}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bcbuiltins\nexec\nu.", fault.UnsafePickle, 16, "builtins.exec", "plain data"},
	{"subprocess by INST", "(S'id'\nisubprocess\nPopen\n.", fault.UnsafePickle, 7, "INST: subprocess.Popen is refused", "plain data"},
	{"INST of what is allowed", "(idecimal\nDecimal\n.", fault.UnsafePickle, 1, "INST: instances of Python 2's classes", "plain data"},
	{"OBJ", "(cdecimal\nDecimal\no.", fault.UnsafePickle, 18, "OBJ: instances", "plain data"},
	{"nested reduce", in("cbuiltins\ngetattr\ncbuiltins\n__import__\n\x8c\x02os\x85R\x8c\x06system\x86R"), fault.UnsafePickle, 24, "builtins.__import__ is refused", "plain data"},
	{"getattr of something else", in("cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09from_file\x86R"), fault.UnsafePickle, 55, "REDUCE: getattr is not called in the way", "plain data"},
	{"getattr of a class", in("cbuiltins\ngetattr\ncbuiltins\nset\n\x8c\x09_unpickle\x86R"), fault.UnsafePickle, 50, "REDUCE: getattr is not called", "plain data"},
	{"what getattr returned called", in("cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R)R"), fault.UnsafePickle, 57, "ZoneInfo._unpickle is not called", "plain data"},
	{"copyreg._reconstructor", in("ccopyreg\n_reconstructor\ncbuiltins\nset\ncbuiltins\nobject\nN\x87R"), fault.UnsafePickle, 63, "_reconstructor is not called", "plain data"},
	{"copyreg.__newobj__", in("ccopyreg\n__newobj__\n"), fault.UnsafePickle, 6, "copyreg.__newobj__ is refused", "plain data"},
	{"copyreg.add_extension", in("ccopyreg\nadd_extension\n"), fault.UnsafePickle, 6, "copyreg.add_extension is refused", "plain data"},
	{"copyreg._inverted_registry", in("ccopyreg\n_inverted_registry\n"), fault.UnsafePickle, 6, "copyreg._inverted_registry", "plain data"},
	{"_codecs.decode", in("c_codecs\ndecode\n"), fault.UnsafePickle, 6, "_codecs.decode", "plain data"},
	{"_codecs.encode by another codec", in("c_codecs\nencode\n\x8c\x01x\x8c\x03zip\x86R"), fault.UnsafePickle, 31, "encode is not called in the way", "plain data"},
	{"dotted name", in("\x8c\x08datetime\x8c\x0cdatetime.now\x93"), fault.UnsafePickle, 30, "datetime.datetime.now is refused", "plain data"},
	{"dotted module", in("cos.path\njoin\n"), fault.UnsafePickle, 6, "os.path.join is refused", "plain data"},
	{"a module's module", in("cdecimal\n_sys.exit\n"), fault.UnsafePickle, 6, "decimal._sys.exit is refused", "plain data"},
	{"a name that hides", in("cos\r\nsys\x1b[2Jtem\n"), fault.UnsafePickle, 6, `"os\r.sys\x1b[2Jtem" is refused`, "plain data"},
	{"a name without end", "c" + strings.Repeat("a", 2000), fault.Malformed, 0, "GLOBAL: the name has more than 1024 bytes", ""},
	{"a long name by the stack", in("X\x00\x08\x00\x00" + strings.Repeat("a", 2048) + "\x8c\x01b\x93"), fault.Malformed, 2062, "STACK_GLOBAL: the name has more than 1024 bytes", ""},
	{"a name that is no string", in("K\x01\x8c\x01b\x93"), fault.Malformed, 11, "STACK_GLOBAL: want the names of a module and a global, got an int and a string", ""},
	{"an enum's member", in("\x8c\x05paint\x8c\x05Color\x93K\x01\x85R"), fault.UnsafePickle, 20, "paint.Color is refused", "member.value"},
	{"a call of what is refused, popped", "}cos\nsystem\n(S'id'\ntR0.", fault.UnsafePickle, 1, "os.system is refused", "plain data"},
	{"a factory that is refused", in("ccollections\ndefaultdict\ncos\nsystem\n\x85R"), fault.UnsafePickle, 31, "os.system is refused", "plain data"},
	{"a factory that is a function", in("ccollections\ndefaultdict\n_codecs\nencode\n\x85R"), fault.Malformed, 31, "", ""},
	{"a factory that is called", in("ccollections\ndefaultdict\nccollections\nOrderedDict\n)R\x85R"), fault.UnsafePickle, 59, "defaultdict is not called", "plain data"},
	{"a type that is called", in("cbuiltins\nint\nK\x01\x85R"), fault.UnsafePickle, 23, "is not called", "plain data"},
	{"a type as a value", in("cbuiltins\nlist\n"), fault.UnsafePickle, 2, "is no value", "plain data"},
	{"getattr of an enumeration's method", in("cbuiltins\ngetattr\ncsignal\nSignals\n\x8c\x08__call__\x86R"), fault.UnsafePickle, 51, "getattr is not called", "plain data"},
	{"an enumeration as a value", in("csignal\nSignals\n"), fault.UnsafePickle, 2, "an enumeration is no value", "plain data"},
	{"an enumeration called with a list", in("csignal\nSignals\n]\x85R"), fault.UnsafePickle, 24, "an Enum is not called", "plain data"},
	{"an enumeration made", in("csignal\nSignals\nK\x01\x85\x81"), fault.UnsafePickle, 25, "an Enum is not made", "plain data"},
	{"a deque with content as its argument", in("ccollections\ndeque\nK\x01\x85\x85R"), fault.UnsafePickle, 29, "deque is not called", "plain data"},
	{"a path of an int", in("cpathlib\nPosixPath\nK\x01\x85R"), fault.UnsafePickle, 28, "PosixPath is not called", "plain data"},
	{"a fraction over zero", in("cfractions\nFraction\nK\x01K\x00\x86R"), fault.UnsafePickle, 31, "Fraction is not called", "plain data"},
	{"an IPv4 address of 33 bits", in("cipaddress\nIPv4Address\n\x8a\x05\x00\x00\x00\x00\x01\x85R"), fault.UnsafePickle, 37, "IPv4Address is not called", "plain data"},
	{"a dtype of objects", in("cnumpy\ndtype\n\x8c\x02O8\x89\x88\x87R"), fault.UnsafePickle, 26, "dtype is not called", "plain data"},
	{"a scalar without its type's state", in("cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n\x8c\x02i8\x89\x88\x87RC\x08\x00\x00\x00\x00\x00\x00\x00\x00\x86R"), fault.UnsafePickle, 68, "scalar is not called", "plain data"},
	{"a dtype as a value", in("cnumpy\ndtype\n\x8c\x02i8\x89\x88\x87R"), fault.UnsafePickle, 2, "a dtype is no value", "plain data"},
	{"a Timestamp in the year 300000", in("cpandas._libs.tslibs.timestamps\n_unpickle_timestamp\n(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fNNK\x07tR"), fault.UnsafePickle, 74, "_unpickle_timestamp is not called", "plain data"},
	{"a long string of numpy's, often", in("(cnumpy.core.multiarray\nscalar\n\x94cnumpy\ndtype\n\x8c\x02U1\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xa0\x86\x01\x00K\x04K\x08tb\x94B" + le(100_000, 4) + strings.Repeat("a\x00\x00\x00", 25_000) + "\x94" + strings.Repeat("h\x00h\x01h\x02\x86R", 20_000) + "l"), fault.OverLimit, 100_421, "handed to calls", ""},
	{"a path of many parts, often", in("(cpathlib\nPosixPath\n\x94(" + strings.Repeat("\x8c\x00", 100_000) + "t\x94" + strings.Repeat("h\x00h\x01R", 20_000) + "l"), fault.OverLimit, 200_059, "handed to calls", ""},
	{"a named tuple", in("\x8c\x08__main__\x8c\x05Point\x93K\x01K\x02\x86\x81"), fault.UnsafePickle, 23, "__main__.Point is refused", "x._asdict()"},
	{"numpy", in("cnumpy.core.multiarray\n_reconstruct\n"), fault.UnsafePickle, 6, "numpy.core.multiarray._reconstruct is refused", "plain data"},
	{"a persistent id", in("Pdisk\n"), fault.UnsafePickle, 6, "PERSID: persistent ids are not read", "whole"},
	{"a persistent id by the stack", in("K\x01Q"), fault.UnsafePickle, 8, "BINPERSID: persistent ids", "whole"},
	{"EXT1", in("\x82\x01"), fault.UnsafePickle, 6, "EXT1: the extension registry is not read", "copyreg"},
	{"EXT2", in("\x83\x01\x00"), fault.UnsafePickle, 6, "EXT2: the extension registry", "copyreg"},
	{"EXT4", in("\x84\x01\x00\x00\x00"), fault.UnsafePickle, 6, "EXT4: the extension registry", "copyreg"},
	{"NEXT_BUFFER", in("\x97"), fault.UnsafePickle, 6, "NEXT_BUFFER: out-of-band buffers are not read", "buffer_callback"},
	{"READONLY_BUFFER", in("\x98"), fault.UnsafePickle, 6, "READONLY_BUFFER: out-of-band", "buffer_callback"},
	{"NEWOBJ_EX", in("cuuid\nUUID\n)}\x92"), fault.UnsafePickle, 19, "NEWOBJ_EX: CPython writes it for no type", "plain data"},
	{"NEWOBJ of a datetime", in("cdatetime\ndatetime\n)\x81"), fault.UnsafePickle, 26, "NEWOBJ: datetime is not made in the way", "plain data"},
	{"NEWOBJ with arguments", in("cuuid\nUUID\nK\x01\x85\x81"), fault.UnsafePickle, 20, "NEWOBJ: UUID is not made", "plain data"},
	{"a call of data", in("K\x01)R"), fault.UnsafePickle, 9, "REDUCE: an int can't be called", "plain data"},
	{"a call of what is no function", in("cbuiltins\nobject\n)R"), fault.UnsafePickle, 24, "REDUCE: object is not called", "plain data"},
	{"a call without a tuple", in("cbuiltins\nset\n]R"), fault.Malformed, 21, "REDUCE: want a tuple of arguments, got a list", ""},
	{"a set of a string", in("cbuiltins\nset\n\x8c\x01a\x85R"), fault.UnsafePickle, 24, "set is not called in the way", "plain data"},
	{"a class as a value", in("cbuiltins\nset\n"), fault.UnsafePickle, 2, "set is no value that a dictionary can hold", "plain data"},
	{"a zone as a value", in("cdatetime\ntimezone\ncdatetime\ntimedelta\nK\x00K\x00K\x00\x87R\x85R"), fault.UnsafePickle, 2, "a time zone is no value", "plain data"},
	{"BUILD of a dict", in("}}b"), fault.UnsafePickle, 8, "BUILD: a dict has no state to set", "plain data"},
	{"BUILD of a UUID twice", in("cuuid\nUUID\n)\x81}\x8c\x03intK\x01sb}\x8c\x03intK\x02sb"), fault.UnsafePickle, 38, "BUILD: a uuid has no state to set", "plain data"},
	{"a UUID with other attributes", in("cuuid\nUUID\n)\x81}(\x8c\x03intK\x01\x8c\x01xK\x01ub"), fault.UnsafePickle, 34, "BUILD: the state of a UUID is not", "plain data"},
	{"a UUID of a negative number", in("cuuid\nUUID\n)\x81}\x8c\x03intJ\xff\xff\xff\xffsb"), fault.UnsafePickle, 31, "the state of a UUID", "plain data"},
	{"a UUID of 17 bytes", in("cuuid\nUUID\n)\x81}\x8c\x03int\x8a\x11" + strings.Repeat("\x01", 17) + "sb"), fault.UnsafePickle, 45, "the state of a UUID", "plain data"},
	{"a UUID without its number", in("cuuid\nUUID\n)\x81"), fault.UnsafePickle, 18, "a UUID without its number", "plain data"},
	{"a datetime of month 13", in("cdatetime\ndatetime\nC\x0a\x07\xe4\x0d\x01\x00\x00\x00\x00\x00\x00\x85R"), fault.Malformed, 38, "REDUCE: 13 is no month of a datetime", ""},
	{"a datetime of 9 bytes", in("cdatetime\ndatetime\nC\x09\x07\xe4\x0d\x01\x00\x00\x00\x00\x00\x85R"), fault.UnsafePickle, 37, "datetime is not called", "plain data"},
	{"a datetime in an int", in("cdatetime\ndatetime\nC\x0a\x07\xe4\x01\x01\x00\x00\x00\x00\x00\x00K\x01\x86R"), fault.UnsafePickle, 40, "datetime is not called", "plain data"},
	{"a zone of a day", in("cdatetime\ntimezone\ncdatetime\ntimedelta\nK\x01K\x00K\x00\x87R\x85R"), fault.UnsafePickle, 54, "timezone is not called", "plain data"},
	{"no decimal", in("cdecimal\nDecimal\n\x8c\x03abc\x85R"), fault.Malformed, 29, `REDUCE: want a decimal's text, got "abc"`, ""},

	{"LONG4 of 2 GiB", in("\x8b" + le(1<<31-1, 4)), fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"LONG4 of a negative length", in("\x8b" + le(1<<32-1, 4)), fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"LONG4 of 100 KB", in("\x8b" + le(100_000, 4) + strings.Repeat("\x7f", 100_000)), fault.OverLimit, 2, "more than 4300 digits of an integer", ""},
	{"LONG of 100 KB", in("L" + strings.Repeat("7", 100_000) + "L\n"), fault.OverLimit, 2, "more than 4300 digits of an integer", ""},
	{"INT of 100 KB", in("I" + strings.Repeat("7", 100_000) + "\n"), fault.OverLimit, 2, "more than 4300 digits of an integer", ""},
	{"BINBYTES8 of 2⁶³", in("\x8e" + le(1<<63, 8)), fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"BINBYTES8 of all ones", in("\x8e" + le(1<<64-1, 8)), fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"BYTEARRAY8 of 2⁶²", in("\x96" + le(1<<62, 8)), fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"BINUNICODE8 of 2⁶⁰", in("\x8d" + le(1<<60, 8)), fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"BINUNICODE of 1 MB that is not there", in("X" + le(1_000_000, 4)), fault.Truncated, 13, "want the rest of BINUNICODE at byte 6, got the end", ""},
	{"FRAME of 2⁶³", "\x80\x04\x95" + le(1<<63, 8) + "}.", fault.TooLarge, 1 << 20, "more than 1048576 bytes", ""},
	{"FRAME of more than there is", "\x80\x04\x95" + le(100, 8) + "}.", fault.Truncated, 13, "want the frame at byte 2 to hold 100 bytes", ""},
	{"FRAME after STOP", "\x80\x04\x95" + le(3, 8) + "}..", fault.Malformed, 12, "the frame ends after STOP", ""},
	{"FRAME in a FRAME", "\x80\x04\x95" + le(11, 8) + "\x95" + le(2, 8) + "}.", fault.Malformed, 11, "a frame within a frame", ""},
	{"LONG_BINPUT of 2³²-1", "}r" + le(1<<32-1, 4) + ".", fault.OverLimit, 1, "LONG_BINPUT: the memo's index 4294967295 is beyond the size of the pickle", ""},
	{"PUT of 2⁶³", "}p9223372036854775808\n.", fault.Malformed, 1, "PUT: want an index in decimal digits", ""},
	{"PUT of -1", "}p-1\n.", fault.Malformed, 1, "PUT: want an index in decimal digits", ""},
	{"GET of nothing", in("h\x00"), fault.Malformed, 6, "BINGET: nothing was stored in the memo as 0", ""},
	{"GET of a gap", "}q\x05" + "X\x01\x00\x00\x00ah\x03s.", fault.Malformed, 9, "BINGET: nothing was stored in the memo as 3", ""},
	{"deep nesting", in(strings.Repeat("](", 200_000) + strings.Repeat("e", 200_000)), fault.TooDeep, 6 + 2*127, "more than 128 levels", ""},
	{"deep tuples", in(")" + strings.Repeat("\x85", 200_000)), fault.TooDeep, 6 + 200_000 - 127, "more than 128 levels", ""},
	{"billion laughs", in(laughs(20)), fault.OverLimit, 27, "more than 1000000 keys and values", ""},
	{"billion laughs of nothing", in(strings.ReplaceAll(laughs(20), "K\x01", ")")), fault.OverLimit, 17, "more than 1000000 keys and values", ""},
	{"quadratic text", in("X" + le(500_000, 4) + strings.Repeat("x", 500_000) + "\x940(" + strings.Repeat("h\x00", 100_000) + "l"), fault.OverLimit, 700014, "the texts have more than 4194304 bytes", ""},
	{"quadratic ints", in("\x8b" + le(1700, 4) + strings.Repeat("\x7f", 1700) + "\x940(" + strings.Repeat("h\x00", 400_000) + "l"), fault.OverLimit, 801714, "the texts have more than 4194304 bytes", ""},
	{"quadratic decimals", in("cdecimal\nDecimal\nX" + le(100_000, 4) + strings.Repeat("7", 100_000) + "\x85R\x940(" + strings.Repeat("h\x00", 400_000) + "l"), fault.OverLimit, 900033, "the texts have more than 4194304 bytes", ""},
	{"quadratic UUIDs", in("cuuid\nUUID\n)\x81}\x8c\x03int\x8a\x01\x01sb\x940(" + strings.Repeat("h\x00", 300_000) + "l"), fault.OverLimit, 600_033, "the texts have more than 4194304 bytes", ""},
	{"quadratic bytes", in("c_codecs\nencode\n\x94X" + le(500_000, 4) + strings.Repeat("x", 500_000) + "\x8c\x06latin1\x86\x940(" + strings.Repeat("h\x00h\x01R", 80_000) + "l"), fault.OverLimit, 500_084, "REDUCE: the texts that are handed to calls have more than 4194304 bytes", ""},
	{"quadratic zones", in("cdatetime\ntimezone\n\x940cdatetime\ntimedelta\nK\x00K\x00K\x00\x87RX" + le(500_000, 4) + strings.Repeat("x", 500_000) + "\x86\x94(" + strings.Repeat("h\x00h\x01R", 80_000) + "l"), fault.OverLimit, 500_107, "REDUCE: the texts that are handed to calls", ""},
	{"quadratic sets", in("(" + strings.Repeat("N", 100) + "l\x940(" + strings.Repeat("cbuiltins\nset\nh\x00\x85R", 40_000) + "l"), fault.OverLimit, 172_910, "more than 1000000 keys and values", ""},
	{"a list in itself", in("]\x94h\x00a"), fault.Malformed, 6, "the object that is made here holds itself", ""},
	{"a dictionary in itself", "}\x94\x8c\x01ah\x00s.", fault.Malformed, 0, "the object that is made here holds itself", ""},
	{"a tuple in itself by a list", in("]\x94h\x00\x85a"), fault.Malformed, 6, "the object that is made here holds itself", ""},
	{"stack underflow", "s.", fault.Malformed, 0, "SETITEM: want 3 values on the stack above the last mark", ""},
	{"a pop of nothing", "0.", fault.Malformed, 0, "POP: want a value on the stack", ""},
	{"a tuple from below a mark", "}K\x01(\x85.", fault.Malformed, 4, "TUPLE1: want a value on the stack above the last mark", ""},
	{"no mark", "}u.", fault.Malformed, 1, "SETITEMS: want a mark on the stack", ""},
	{"a mark left", "(}.", fault.Malformed, 2, "STOP: want one value on the stack, got 1", ""},
	{"two values left", "}}.", fault.Malformed, 2, "STOP: want one value on the stack, got 2", ""},
	{"nothing left", ".", fault.Malformed, 0, "STOP: want one value on the stack, got 0", ""},
	{"SETITEMS of a list", "](K\x01K\x02u.", fault.Malformed, 6, "SETITEMS: want a dict to add to, got a list", ""},
	{"SETITEMS of an int", "K\x01(K\x01K\x02u.", fault.Malformed, 7, "SETITEMS: want a dict to add to, got an int", ""},
	{"SETITEMS of nothing", "(K\x01K\x02u.", fault.Malformed, 5, "SETITEMS: want a dict below the mark", ""},
	{"SETITEMS of a key alone", "}(K\x01u.", fault.Malformed, 4, "SETITEMS: want keys and values in turn", ""},
	{"DICT of a key alone", "(K\x01d.", fault.Malformed, 3, "DICT: want keys and values in turn", ""},
	{"APPEND to a tuple", in(")K\x01a"), fault.Malformed, 9, "APPEND: want a list to add to, got a tuple", ""},
	{"ADDITEMS to a set by a call", in("cbuiltins\nset\n]\x85R(K\x01\x90"), fault.UnsafePickle, 26, "ADDITEMS: a set that was made by a call is added to", "plain data"},
	{"an unhashable key", "}]K\x01s.", fault.Malformed, 0, "a list can't be hashed", ""},
	{"an unhashable key within", "}]\x85K\x01s.", fault.Malformed, 0, "a tuple can't be hashed", ""},
	{"an unhashable item", in("\x8f(]\x90"), fault.Malformed, 6, "a list can't be hashed", ""},
	{"a key twice", "}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.", fault.DuplicateKey, 0, "'a' comes twice in the dict", ""},
	{"an equal key", "}(K\x01K\x01\x88K\x02u.", fault.DuplicateKey, 0, "True comes twice in the dict", ""},
	{"an item twice", in("(K\x01G\x3f\xf0\x00\x00\x00\x00\x00\x00\x91"), fault.DuplicateKey, 18, "1.0 comes twice in the frozenset", ""},

	{"a list", "]K\x01a.", fault.NotADictionary, 0, "want a dictionary, got a list", "wrap it"},
	{"a string", "\x80\x04\x8c\x01a.", fault.NotADictionary, 0, "want a dictionary, got a string", "wrap it"},
	{"JSON", `{"a": 1}`, fault.Malformed, 0, "want an opcode, got '{'", "pickle.dumps"},
	{"nothing", "", fault.Truncated, 0, "want an opcode, got the end", ""},
	{"an opcode that is none", "}\xff.", fault.Malformed, 1, "want an opcode, got byte 0xff", ""},
	{"protocol 6", "\x80\x06}.", fault.Malformed, 0, "PROTO: pickle protocol 6 is not known", "protocol 5"},
	{"more after it", "}.}.", fault.Malformed, 2, "want nothing after STOP, got '}'", ""},
	{"cut off", "}X\x05\x00", fault.Truncated, 4, "want the rest of BINUNICODE at byte 1, got the end", ""},
	{"cut off between opcodes", "}", fault.Truncated, 1, "want an opcode, got the end", ""},
	{"no UTF-8", in("\x8c\x02a\xff"), fault.Malformed, 6, "SHORT_BINUNICODE: want UTF-8, got byte 0xff at byte 9", ""},
	{"bytes of Python 2", in("U\x02a\xe9"), fault.Malformed, 6, "SHORT_BINSTRING: want a str of Python 2 in ASCII, got byte 0xe9", "Python 3"},
	{"bytes of Python 2 in quotes", in("S'\\xe9'\n"), fault.Malformed, 6, "STRING: want a str of Python 2 in ASCII, got byte 0xe9", "Python 3"},
	{"STRING without quotes", in("Sabc\n"), fault.Malformed, 6, `STRING: want a string in quotes, got "abc"`, ""},
	{"an escape that is none", in("S'\\q'\n"), fault.Malformed, 6, `STRING: want an escape`, ""},
	{"UNICODE without its digits", in("V\\u12\n"), fault.Malformed, 6, `UNICODE: want 4 hexadecimal digits of a character after \u, got "12"`, ""},
	{"UNICODE beyond it", in("V\\U00110000\n"), fault.Malformed, 6, `UNICODE: want 8 hexadecimal digits of a character after \U`, ""},
	{"INT of nothing", in("I\n"), fault.Malformed, 6, `INT: want decimal digits, got ""`, ""},
	{"INT in octal", in("I017\n"), fault.Malformed, 6, `INT: want decimal digits, got "017"`, ""},
	{"FLOAT in hexadecimal", in("F0x1p4\n"), fault.Malformed, 6, `FLOAT: want a float as repr writes it, got "0x1p4"`, ""},
}

// A hostile pickle is refused with a reason, at once, and in memory that grows no faster
// than the pickle and the limits.
func TestHostile(t *testing.T) {
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			src := []byte(test.pickle)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			d, err := pickle.Codec{}.Decode(src, codec.Limits{})
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			var bad *codec.SyntaxError
			if !errors.As(err, &bad) {
				t.Fatalf("Decode = %.100v, %v", d, err)
			}
			if bad.Code != test.code || bad.Offset != test.at || !strings.Contains(bad.Msg, test.want) ||
				!strings.Contains(bad.Hint, test.hint) || test.hint == "" && bad.Hint != "" {
				t.Errorf("%s at %d: %s (hint: %s)\nwant %s at %d: %s (hint: %s)",
					bad.Code, bad.Offset, bad.Msg, bad.Hint, test.code, test.at, test.want, test.hint)
			}
			// Growing values are allocated several times; 16 bytes are for each value.
			if size := after.TotalAlloc - before.TotalAlloc; size > uint64(512*len(src)+96<<20) {
				t.Errorf("%d bytes were allocated for %d", size, len(src))
			}
			if took > 10*time.Second {
				t.Errorf("%d bytes took %v", len(src), took)
			}
		})
	}
}
