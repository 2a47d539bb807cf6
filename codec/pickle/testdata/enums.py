"""Prints the members of the enumerations of the standard library, one class a line:
../enums.txt. Run it on Linux by each version of Python, the newest first, with what it
printed before as standard input. A ! says that members are pickled as globals of
their module."""

import contextlib, enum, importlib, io, pkgutil, sys, warnings

SKIP = {'antigravity', 'this', 'idlelib', 'test', 'lib2to3', 'turtledemo', '__main__', 'site-packages', 'ensurepip', 'distutils', 'turtle', 'pip', 'setuptools'}
warnings.simplefilter('ignore')
known = {}
by_name = set()  # those whose members are pickled as globals of their module
for line in sys.stdin:
    cls, *members = line.split()
    if cls.endswith('!'):
        cls = cls[:-1]
        by_name.add(cls)
    known[cls] = dict(m.split('=', 1) for m in members)

names = getattr(sys, 'stdlib_module_names', None) or {m.name for m in pkgutil.iter_modules()}
for name in sorted(names):
    if name.split('.')[0] in SKIP or name.startswith('_test') or name.startswith('__'):
        continue
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            module = importlib.import_module(name)
        except BaseException:
            continue
for module in list(sys.modules.values()):
    for cls in list(vars(module).values()) if hasattr(module, '__dict__') else []:
        if not (isinstance(cls, type) and issubclass(cls, enum.Enum)) or cls.__module__.split('.')[0] not in names or cls.__module__.split('.')[0] in SKIP or not len(cls):
            continue
        if not all(isinstance(m.value, (int, str)) and ' ' not in str(m.value) and '\n' not in str(m.value) and m.value != '' for m in cls):
            continue
        name = cls.__module__ + '.' + cls.__qualname__
        if isinstance(next(iter(cls)).__reduce_ex__(4), str):
            by_name.add(name)
        members = known.setdefault(name, {})
        for n, m in cls.__members__.items():
            members.setdefault(n, repr(m.value) if isinstance(m.value, str) else str(int(m.value)))
for cls, members in sorted(known.items()):
    print(cls + '!' * (cls in by_name), *(f'{n}={v}' for n, v in members.items()))
