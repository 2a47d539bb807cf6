// CBOR (RFC 8949) as the server writes it, which represents records exactly:
// docs/formats.md and the package codec/cbor describe how each type is encoded.

// A value is {kind, text}, {kind, bytes}, {kind, items} or {kind, entries: [[key, value], …]}.
// The text of a number has all its digits.

const strict = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true})
const lenient = new TextDecoder('utf-8', {ignoreBOM: true})

// skip returns the end of the item at i, or -1 if it is incomplete.
export function skip(buf, i) {
	for (let open = 1; open > 0; open--) {
		if (i >= buf.length) return -1
		const major = buf[i] >> 5, info = buf[i] & 31
		i++
		let n = info
		if (info >= 24) {
			if (info > 27) throw new Error('cbor: a length that is not definite')
			const end = i + (1 << (info - 24))
			if (end > buf.length) return -1
			for (n = 0; i < end; i++) n = n * 256 + buf[i]
		}
		if (major === 2 || major === 3) i += n
		else if (major === 4) open += n
		else if (major === 5) open += 2 * n
		else if (major === 6) open++
		if (i > buf.length) return -1
	}
	return i
}

// fields returns the offsets of the values of a map's text keys, by key.
export function fields(buf) {
	const r = new Reader(buf), at = new Map()
	for (let n = Number(r.head().n); n > 0; n--) {
		const key = r.value().text
		at.set(key, r.i)
		r.i = skip(buf, r.i)
	}
	return at
}

// decode decodes the value at i, of which only about the first most bytes are needed: the
// rest is left out.
export const decode = (buf, i = 0, most = Infinity) => new Reader(buf, i, most).value()

class Reader {
	constructor(buf, i = 0, left = Infinity) {
		this.buf = buf
		this.i = i
		this.left = left // bytes that are still needed; once there are none, i may be inside a value
		this.view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength)
	}

	head() {
		const first = this.buf[this.i++], major = first >> 5, info = first & 31
		const at = this.i
		switch (info) {
		case 24: this.i += 1; return {major, info, n: this.view.getUint8(at)}
		case 25: this.i += 2; return {major, info, n: this.view.getUint16(at)}
		case 26: this.i += 4; return {major, info, n: this.view.getUint32(at)}
		case 27: this.i += 8; return {major, info, n: this.view.getBigUint64(at)}
		default: return {major, info, n: info}
		}
	}

	take(n) {
		const from = this.i
		this.i += Number(n)
		return this.buf.subarray(from, this.i)
	}

	// some calls make up to n times and returns the results.
	some(n, make) {
		const all = []
		for (; n > 0 && this.left > 0; n--) all.push(make())
		return all
	}

	text(n) {
		const bytes = this.take(n), cut = bytes.length > this.left
		const text = cut ? lenient.decode(bytes.subarray(0, this.left)) : strict.decode(bytes)
		this.left -= bytes.length
		return text
	}

	value() {
		const at = this.i, {major, info, n} = this.head()
		this.left -= 4
		switch (major) {
		case 0: return {kind: 'int', text: String(n)}
		case 1: return {kind: 'int', text: String(-1n - BigInt(n))}
		case 2: return {kind: 'bytes', bytes: this.take(n)}
		case 3: return {kind: 'str', text: this.text(n)}
		case 4: return {kind: 'list', items: this.some(Number(n), () => this.value())}
		case 5: return {kind: 'dict', entries: this.some(Number(n), () => [hashable(this.value()), this.value()])}
		case 6: {
			const v = this.value()
			return this.left > 0 ? tagged(n, v) : v // the value may be incomplete
		}
		}
		switch (info) {
		case 20: return {kind: 'bool', text: 'false'}
		case 21: return {kind: 'bool', text: 'true'}
		case 22: return {kind: 'null', text: 'null'}
		case 25: return float(half(n))
		case 26: return float(this.view.getFloat32(at + 1))
		case 27: return float(this.view.getFloat64(at + 1))
		default: return {kind: 'tagged', tag: 'simple', items: [{kind: 'int', text: String(n)}]}
		}
	}
}

// hashable converts a list or a set inside a key or a set to its hashable form.
function hashable(v) {
	if (v.kind === 'list' || v.kind === 'tuple') return {kind: 'tuple', items: v.items.map(hashable)}
	return v.kind === 'set' ? {kind: 'frozenset', items: v.items} : v
}

function half(n) {
	const sign = n & 0x8000 ? -1 : 1, exponent = n >> 10 & 31, fraction = n & 1023
	if (exponent === 0) return sign * fraction * 2 ** -24
	if (exponent === 31) return fraction ? NaN : sign * Infinity
	return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

function float(v) {
	let text = Object.is(v, -0) ? '-0' : String(v)
	if (/^-?\d+$/.test(text)) text += '.0'
	return {kind: 'float', number: v, text: text.replace('Infinity', 'inf').replace('NaN', 'nan')}
}

function tagged(tag, v) {
	switch (Number(tag)) {
	case 0: return {kind: 'datetime', text: v.text, instant: v.text}
	case 2: return {kind: 'int', text: String(big(v.bytes))}
	case 3: return {kind: 'int', text: String(-1n - big(v.bytes))}
	case 4: return {kind: 'decimal', text: decimal(BigInt(v.items[0].text), v.items[1].text)}
	case 27: return object(v.items[0].text, v.items.slice(1), v)
	case 37: return {kind: 'uuid', text: hex(v.bytes).replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}
	case 258: return {kind: 'set', items: v.items.map(hashable)}
	case 273: return {kind: 'str', text: surrogates(v.bytes)}
	case 1002: return {kind: 'timedelta', text: duration(v.entries)}
	case 1004: return {kind: 'date', text: v.text}
	case 43000: return {kind: 'complex', text: complex(...v.items)}
	case 55799: return v
	default: return {kind: 'tagged', tag: String(tag), items: [v]}
	}
}

// object decodes the types listed in cbor.Objects.
function object(name, args, whole) {
	switch (name) {
	case 'Decimal': return {kind: 'decimal', text: args[0].text}
	case 'OrderedDict': return {kind: 'ordered dict', entries: args[0].entries}
	case 'bytearray': return {kind: 'bytearray', bytes: args[0].bytes}
	case 'datetime': return {kind: 'datetime', text: args[0].text + zone(args)}
	case 'time': return {kind: 'time of day', text: args[0].text + zone(args)}
	case 'frozenset': return {kind: 'frozenset', items: args[0].items.map(hashable)}
	case 'str': return {kind: 'str', text: surrogates(args[0].bytes)}
	case 'timedelta': return {kind: 'timedelta', text: clock(...args.slice(0, 3).map((a) => BigInt(a.text)), BigInt(args[3]?.text ?? 0))}
	case 'tuple': return {kind: 'tuple', items: args[0].items}
	default: return {kind: 'tagged', tag: name === 'msgpack.ExtType' ? 'ExtType' : '27', items: name === 'msgpack.ExtType' ? args : [whole]}
	}
}

function zone([, fold, zone, name]) {
	let text = ''
	if (zone?.kind === 'str') text = `[${zone.text}]`
	else if (zone) {
		let micros = BigInt(zone.text)
		text = micros < 0n ? '-' : '+'
		if (micros < 0n) micros = -micros
		const two = (n) => String(n).padStart(2, '0'), seconds = micros / 1000000n
		text += two(seconds / 3600n) + ':' + two(seconds / 60n % 60n)
		if (seconds % 60n || micros % 1000000n) text += ':' + two(seconds % 60n)
		if (micros % 1000000n) text += '.' + String(micros % 1000000n).padStart(6, '0')
		if (name) text += `[${name.text}]`
	}
	return fold?.text === '1' ? text + ' fold=1' : text
}

const big = (bytes) => bytes.length ? BigInt('0x' + hex(bytes)) : 0n

// decimal formats a decimal like Python's str.
function decimal(exponent, mantissa) {
	const sign = mantissa.startsWith('-') ? '-' : '', digits = mantissa.replace('-', '')
	const adjusted = BigInt(digits.length) - 1n + exponent
	if (exponent > 0n || adjusted < -6n) {
		const rest = digits.slice(1)
		return `${sign}${digits[0]}${rest && '.' + rest}E${adjusted < 0n ? '' : '+'}${adjusted}`
	}
	if (exponent === 0n) return sign + digits
	const padded = digits.padStart(1 - Number(exponent), '0')
	return `${sign}${padded.slice(0, Number(exponent))}.${padded.slice(Number(exponent))}`
}

function complex(re, im) {
	const part = (v) => v.text.replace(/\.0$/, '')
	const imaginary = part(im)
	if (Object.is(re.number, 0)) return imaginary + 'j'
	return `(${part(re)}${imaginary.startsWith('-') ? '' : '+'}${imaginary}j)`
}

// duration formats a map of RFC 9581: seconds under key 1, fractions under -3, -6 or -9.
function duration(entries) {
	let seconds = 0n, nanos = 0n
	for (const [key, v] of entries) {
		if (key.text === '1') seconds = BigInt(v.text)
		else nanos = BigInt(v.text) * 10n ** (9n + BigInt(key.text))
	}
	return clock(seconds / 86400n, seconds % 86400n, nanos / 1000n, nanos % 1000n)
}

// clock formats a timedelta like Python's str.
function clock(days, seconds, micros, nanos) {
	const two = (n) => String(n).padStart(2, '0')
	let text = days === 0n ? '' : `${days} day${days === 1n || days === -1n ? '' : 's'}, `
	text += `${seconds / 3600n}:${two(seconds / 60n % 60n)}:${two(seconds % 60n)}`
	if (nanos) text += '.' + String(micros * 1000n + nanos).padStart(9, '0')
	else if (micros) text += '.' + String(micros).padStart(6, '0')
	return text
}

// surrogates decodes UTF-8 that may contain surrogates.
function surrogates(bytes) {
	const units = []
	for (let i = 0; i < bytes.length;) {
		const b = bytes[i], size = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4
		let rune = size === 1 ? b : b & (0x7f >> size)
		for (let k = 1; k < size; k++) rune = rune << 6 | bytes[i + k] & 0x3f
		units.push(String.fromCodePoint(rune))
		i += size
	}
	return units.join('')
}

export const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
