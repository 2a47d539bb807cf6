// Values as text. What comes from records is only ever text, never HTML.

// Characters that would hide or reorder the text around them.
const hidden = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g
const escaped = (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')

export const visible = (s) => s.replace(/[\u0000-\u001f]/g, escaped).replace(hidden, escaped)
export const quoted = (s) => JSON.stringify(s).replace(hidden, escaped)

// literal returns bytes as a Python literal.
export function literal(bytes) {
	const parts = []
	for (const b of bytes) {
		parts.push(b === 0x5c ? '\\\\' : b === 0x27 ? "\\'" : b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '\\x' + b.toString(16).padStart(2, '0'))
	}
	return `b'${parts.join('')}'`
}

const around = {
	'list': ['[', ']'],
	'tuple': ['(', ')'],
	'set': ['{', '}'],
	'frozenset': ['frozenset({', '})'],
	'dict': ['{', '}'],
	'ordered dict': ['OrderedDict({', '})'],
}

// brackets returns the text before and after the parts of a container.
export const brackets = (v) => around[v.kind] ?? [`tag ${v.tag}(`, ')']

export const className = (kind) => kind.replaceAll(' ', '-')

// leaf returns the text of a value without parts, of which only about the first most
// characters are needed.
export function leaf(v, most = Infinity) {
	switch (v.kind) {
	case 'str': return v.text.length > most ? quoted(v.text.slice(0, most)) + '…' : quoted(v.text)
	case 'bytes': return v.bytes.length > most ? literal(v.bytes.subarray(0, most)) + '…' : literal(v.bytes)
	case 'bytearray': return `bytearray(${v.bytes.length > most ? literal(v.bytes.subarray(0, most)) + '…' : literal(v.bytes)})`
	case 'decimal': return `Decimal('${v.text}')`
	default: {
		const text = visible(v.text)
		return text.length > most ? text.slice(0, most) + '…' : text
	}
	}
}

// tokens returns a value as one line of [class, text] pairs, with about most characters.
export function tokens(v, most = Infinity) {
	const out = []
	let left = most
	const put = (name, text) => {
		out.push([name, text])
		left -= text.length
	}
	const write = (v) => {
		if (left <= 0) return
		if (v.items || v.entries) {
			const [open, close] = brackets(v)
			put('', open)
			const parts = v.items ?? v.entries
			for (let i = 0; i < parts.length; i++) {
				if (left <= 0) return
				if (i > 0) put('', ', ')
				if (v.entries) {
					const [key, value] = parts[i]
					if (key.items || key.entries) write(key)
					else put('key', leaf(key, left))
					put('', ': ')
					write(value)
				} else write(parts[i])
			}
			put('', v.kind === 'tuple' && parts.length === 1 ? ',)' : close)
		} else put(className(v.kind), leaf(v, left))
	}
	write(v)
	if (left <= 0 && most !== Infinity) out.push(['', ' …'])
	return out
}

// line returns a value as one line.
export const line = (v) => tokens(v).map(([, text]) => text).join('')

// element returns an element with a class and children, which are elements or strings.
export function element(name, className, ...children) {
	const e = document.createElement(name)
	if (className) e.className = className
	e.append(...children)
	return e
}

// localTime returns an RFC 3339 time in the local time zone.
export function localTime(text, withDate = true) {
	const t = new Date(text)
	if (isNaN(t)) return ''
	const two = (n) => String(n).padStart(2, '0')
	const time = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, '0')}`
	return withDate ? `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${time}` : time
}

// number formats a number with separators. Intl would take longer to load than everything
// else.
export const number = (v) => String(v ?? '').replace(/^-?\d+/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ','))
