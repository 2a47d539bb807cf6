"""Prints pickles of the types that are read as something plainer, a line each: the
protocol, what the type is, the repr of the plain value, the pickle in hexadecimal. Run
it by each version of Python; with the argument "libraries" it needs numpy, pandas,
pytz and python-dateutil."""

import calendar, collections, datetime, fractions, http, ipaddress, pathlib, pickle, re, signal, socket, sys, uuid

everyday = [
    ('Counter', collections.Counter('abca'), dict),
    ('Counter, empty', collections.Counter(), dict),
    ('defaultdict of int', collections.defaultdict(int, {'a': 1, 2: [3]}), dict),
    ('defaultdict of list', collections.defaultdict(list, a=[1]), dict),
    ('defaultdict of str', collections.defaultdict(str), dict),
    ('defaultdict of dict', collections.defaultdict(dict, {(1, 2): {}}), dict),
    ('defaultdict of set', collections.defaultdict(set, a={1}), dict),
    ('defaultdict of None', collections.defaultdict(None, a=1), dict),
    ('defaultdict of Counter', collections.defaultdict(collections.Counter, a=1), dict),
    ('deque', collections.deque([1, 'x', None]), list),
    ('deque with maxlen', collections.deque([1, 2, 3], 2), list),
    ('deque, empty', collections.deque(), list),
    ('OrderedDict', collections.OrderedDict(b=1, a=2), lambda x: x),
    ('HTTPStatus', http.HTTPStatus.NOT_FOUND, lambda x: x.value),
    ('Signals', signal.SIGINT, lambda x: x.value),
    ('Handlers', signal.SIG_IGN, lambda x: x.value),
    ('AddressFamily', socket.AF_INET, lambda x: x.value),
    ('SocketKind', socket.SOCK_STREAM, lambda x: x.value),
    ('RegexFlag', re.IGNORECASE, lambda x: x.value),
    ('PurePosixPath', pathlib.PurePosixPath('/a/b'), str),
    ('PosixPath', pathlib.PosixPath('a') / 'b.txt', str),
    ('PosixPath, of parts', pathlib.PosixPath('/tmp', 'x//y', '.', '../z/'), str),
    ('PosixPath, later absolute', pathlib.PurePosixPath('a', '/b', 'c'), str),
    ('PosixPath, two slashes', pathlib.PurePosixPath('//a/b'), str),
    ('PosixPath, three slashes', pathlib.PurePosixPath('///a/b'), str),
    ('PosixPath, empty', pathlib.PosixPath(), str),
    ('PosixPath, root', pathlib.PosixPath('/'), str),
    ('PureWindowsPath', pathlib.PureWindowsPath('c:/a', 'b/c'), str),
    ('PureWindowsPath, drive only', pathlib.PureWindowsPath('c:'), str),
    ('PureWindowsPath, relative on a drive', pathlib.PureWindowsPath('c:a', 'b'), str),
    ('PureWindowsPath, root only', pathlib.PureWindowsPath('/a/b'), str),
    ('PureWindowsPath, share', pathlib.PureWindowsPath('//host/share/a', 'b'), str),
    ('PureWindowsPath, empty', pathlib.PureWindowsPath('.'), str),
    ('Fraction', fractions.Fraction(-22, 7), str),
    ('Fraction, whole', fractions.Fraction(5), str),
    ('Fraction, big', fractions.Fraction(10 ** 30, 3), str),
    ('IPv4Address', ipaddress.ip_address('127.0.0.1'), str),
    ('IPv4Address, 0', ipaddress.ip_address('0.0.0.0'), str),
    ('IPv6Address', ipaddress.ip_address('2001:db8::1'), str),
    ('IPv6Address, ::', ipaddress.ip_address('::'), str),
    ('IPv6Address, one zero', ipaddress.ip_address('1:0:2:3:4:5:6:7'), str),
    ('IPv4Network', ipaddress.ip_network('10.0.0.0/8'), str),
    ('IPv6Network', ipaddress.ip_network('2001:db8::/32'), str),
    ('IPv4Interface', ipaddress.ip_interface('10.0.0.1/8'), str),
    ('IPv6Interface', ipaddress.ip_interface('::1/64'), str),
    ('SafeUUID', uuid.UUID(int=5), lambda x: x),
]
if hasattr(http, 'HTTPMethod'):
    everyday.append(('HTTPMethod', http.HTTPMethod.GET, lambda x: x.value))
if hasattr(calendar, 'Day'):
    everyday.append(('Day', calendar.TUESDAY, lambda x: x.value))


def libraries():
    import dateutil.tz, numpy, pandas, pytz
    def item(x):
        return x.item()
    at = datetime.datetime(2024, 2, 29, 1, 2, 3, 456789)
    def ns(x):  # to the nanosecond, as dictwire's repr has it
        text = repr(at.replace(microsecond=123456))
        return text[:-1] + ', nanosecond=789)'
    class Raw(str):
        __repr__ = str.__str__
    return [
        *((f'numpy.{t}', numpy.dtype(t).type(v), item) for t, v in [
            ('bool', 1), ('int8', -5), ('int16', -300), ('int32', 7), ('int64', -1 << 63), ('uint8', 255), ('uint16', 65535), ('uint32', 4294967295),
            ('uint64', (1 << 64) - 1), ('float16', 0.333), ('float16', 6e-8), ('float32', 0.1), ('float64', 0.1), ('float64', float('inf')),
            ('complex64', 1 + 2j), ('complex128', 0.1 - 2j)]),
        ('numpy.int64, big-endian', numpy.array([5, 300], '>i8')[1], item),
        ('numpy.str_', numpy.str_('aé😀'), str), ('numpy.str_, empty', numpy.str_(''), str),
        ('numpy.bytes_', numpy.bytes_(b'ab'), bytes),
        ('numpy.datetime64[us]', numpy.datetime64(at, 'us'), lambda x: at), ('numpy.datetime64[s]', numpy.datetime64('1900-02-28T23:59:59', 's'), item),
        ('numpy.datetime64[D]', numpy.datetime64('2024-02-29', 'D'), lambda x: datetime.datetime(2024, 2, 29)),
        ('numpy.datetime64[M]', numpy.datetime64('1969-11', 'M'), lambda x: datetime.datetime(1969, 11, 1)),
        ('numpy.datetime64[Y]', numpy.datetime64('2024', 'Y'), lambda x: datetime.datetime(2024, 1, 1)),
        ('numpy.datetime64[W]', numpy.datetime64('2024-02-29', 'W'), lambda x: datetime.datetime(2024, 2, 29)),
        ('numpy.datetime64[10ms]', numpy.datetime64(12345, '10ms'), lambda x: datetime.datetime(1970, 1, 1, 0, 2, 3, 450000)),
        ('numpy.datetime64[ns]', numpy.datetime64('2024-02-29T01:02:03.123456789', 'ns'), lambda x: Raw(ns(x))),
        ('numpy.datetime64, NaT', numpy.datetime64('NaT', 'ns'), lambda x: None),
        ('numpy.timedelta64[ms]', numpy.timedelta64(-1500, 'ms'), item), ('numpy.timedelta64[D]', numpy.timedelta64(40, 'D'), item),
        ('numpy.timedelta64[ns]', numpy.timedelta64(-1, 'ns'), lambda x: Raw('datetime.timedelta(days=-1, seconds=86399, microseconds=999999, nanoseconds=999)')),
        ('pandas.Timestamp', pandas.Timestamp('2024-02-29T01:02:03.123456789'), lambda x: Raw(ns(x))),
        ('pandas.Timestamp of microseconds', pandas.Timestamp(at), lambda x: at),
        ('pandas.Timestamp in UTC', pandas.Timestamp(at, tz='UTC'), lambda x: at.replace(tzinfo=datetime.timezone.utc)),
        ('pandas.Timestamp in pytz.utc', pandas.Timestamp(at, tz=pytz.utc), lambda x: at.replace(tzinfo=datetime.timezone.utc)),
        ('pandas.Timestamp with an offset', pandas.Timestamp(at, tz=datetime.timezone(datetime.timedelta(hours=-5))), lambda x: x.to_pydatetime()),
        ('pandas.Timedelta', pandas.Timedelta(days=-1, milliseconds=5), lambda x: x.to_pytimedelta()),
        ('pandas.NaT', pandas.NaT, lambda x: None),
        ('pytz.utc', at.replace(tzinfo=pytz.utc), lambda x: x.astimezone(datetime.timezone.utc)),
        ('pytz.FixedOffset', at.replace(tzinfo=pytz.FixedOffset(-90)), lambda x: at.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=-90)))),
        ('dateutil.tz.tzutc', at.replace(tzinfo=dateutil.tz.tzutc()), lambda x: x.astimezone(datetime.timezone.utc)),
        ('dateutil.tz.tzoffset', at.replace(tzinfo=dateutil.tz.tzoffset(None, 3600)), lambda x: at.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1)))),
        ('dateutil.tz.tzoffset with a name', at.replace(tzinfo=dateutil.tz.tzoffset('CET', 3600)), lambda x: at.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1), 'CET'))),
    ]


def main():
    seen = set(line for line in sys.stdin)
    for name, value, plain in everyday if len(sys.argv) == 1 else libraries():
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            d = {'in': [value, 1]}
            if protocol % 2:
                d['again'] = value
            want = {k: [plain(v[0]), 1] if k == 'in' else plain(v) for k, v in d.items()}
            for dumps in (pickle.dumps, pickle._dumps):
                seen.add('\t'.join([str(protocol), name, repr(want), dumps(d, protocol).hex()]) + '\n')
    sys.stdout.writelines(sorted(seen))


main()
