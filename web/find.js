// What is looked for: words that a record has, key:value, key>5, and what it has not.

import {line} from './text.js'

const term = /(-?)(?:"((?:[^"\\]|\\.)*)"|([^\s"<>=:]+)(:|>=|<=|>|<)(?:"((?:[^"\\]|\\.)*)"|(\S+))|(\S+))/g
const plain = (s) => s?.replace(/\\(.)/g, '$1')

// matcher returns what reports whether a row is looked for, or null where all are.
export function matcher(query) {
	const tests = []
	for (const [, not, quoted, key, is, quotedValue, value, word] of query.matchAll(term)) {
		const test = key ? has(key.split('.'), is, plain(quotedValue) ?? value) : says(plain(quoted) ?? word)
		tests.push(not ? (row) => !test(row) : test)
	}
	return tests.length ? (row) => tests.every((test) => test(row)) : null
}

function says(text) {
	const wanted = text.toLowerCase()
	return (row) => (row.field('topic') + ' ' + (row.field('producer') ?? '') + ' ' + line(row.record)).toLowerCase().includes(wanted)
}

// has tests the value at a path: whether it is another one, or has it as a part of its text.
function has(path, is, wanted) {
	const lower = wanted.toLowerCase()
	return (row) => values(row.record, path).some((v) => {
		if (is !== ':') return compares(v, is, wanted)
		if (v.kind === 'str') return v.text.toLowerCase().includes(lower)
		return v.text === undefined ? line(v).toLowerCase().includes(lower) : v.text.toLowerCase() === lower
	})
}

// values returns what is at a path, through lists.
function values(v, path) {
	if (path.length === 0) return [v]
	if (v.items) return v.items.flatMap((item) => values(item, path))
	return (v.entries ?? []).flatMap(([key, value]) => key.text === path[0] ? values(value, path.slice(1)) : [])
}

const whole = /^-?\d+$/

function compares(v, is, wanted) {
	let a = v.text, b = wanted
	if (['int', 'float', 'decimal'].includes(v.kind)) {
		const exact = whole.test(a) && whole.test(b);
		[a, b] = exact ? [BigInt(a), BigInt(b)] : [Number(a), Number(b)]
	} else if (v.text === undefined) return false
	switch (is) {
	case '>': return a > b
	case '<': return a < b
	case '>=': return a >= b
	default: return a <= b
	}
}
