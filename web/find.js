// The search query: words that a record contains; key:value, key=value and key>5; and,
// after "-", what it must not contain. A key may be a path such as a.b, also through lists.
// @topic and the like refer to the record's metadata. Terms with spaces or operators are
// quoted. The rest after "jq:" is a jq expression, which the server evaluates.

import {leaf, line} from './text.js'

const quote = String.raw`"(?:[^"\\]|\\.)*"`
const part = String.raw`(?:${quote}|[^\s"<>=:.]+)`
const term = new RegExp(String.raw`(-?)(?:(${part}(?:\.${part})*)(>=|<=|[:=<>])(${quote}|\S+)|(${quote}|\S+))`, 'g')
const parts = new RegExp(part, 'g')
const plain = (s) => s.length > 1 && s.startsWith('"') && s.endsWith('"') ? s.slice(1, -1).replace(/\\(.)/g, '$1') : s
const jq = 'jq:'
const quoted = (s) => '"' + s.replace(/["\\]/g, '\\$&') + '"'

// pathOf splits a path into keys, and pathTo joins keys into a path.
export const pathOf = (text) => (text.match(parts) ?? []).map(plain)
export const pathTo = (keys) => keys.map((k) => /^[^\s"<>=:.@,-][^\s"<>=:.,]*$/.test(k) ? k : quoted(k)).join('.')

// pathsOf splits a comma-separated list of paths.
export const pathsOf = (text) => text.match(new RegExp(`(?:${quote}|[^",])+`, 'g'))?.map((p) => p.trim()).filter(Boolean) ?? []

// termOf returns the term that finds a value at a path.
export const termOf = (path, v) => `${path}=${quoted(textOf(v))}`

const textOf = (v) => v.text ?? (v.bytes ? leaf(v) : line(v))

// split returns the terms to search for in the page, and the expression for the server.
export function split(query) {
	for (const {0: text, index} of query.matchAll(term)) {
		if (text.startsWith(jq)) return {terms: query.slice(0, index).trim(), expression: query.slice(index + jq.length).trim()}
	}
	return {terms: query.trim(), expression: ''}
}

// join adds a term to a query.
export function join({terms, expression}, more) {
	return `${terms} ${more} ${expression && jq + ' ' + expression}`.trim()
}

// selecting returns an expression that selects a record once if any result of another
// expression is true.
export const selecting = (expression) => `select(any((${expression}\n); .))`

// matcher returns a function that reports whether a row matches, or null if all do.
export function matcher(query) {
	const tests = []
	for (const [, not, path, is, value, word] of query.matchAll(term)) {
		const test = path ? has(path, is, plain(value)) : says(plain(word))
		tests.push(not ? (row) => !test(row) : test)
	}
	return tests.length ? (row) => tests.every((test) => test(row)) : null
}

function says(text) {
	const wanted = text.toLowerCase()
	return (row) => (row.field('topic') + ' ' + (row.field('producer') ?? '') + ' ' + line(row.record)).toLowerCase().includes(wanted)
}

// has returns a test of the values at a path.
function has(text, is, wanted) {
	const path = pathOf(text), field = text.startsWith('@') && path.length === 1 ? path[0].slice(1) : ''
	const test = compare(is, wanted)
	if (field) {
		return (row) => {
			const v = row.field(field)
			return v !== undefined && test({kind: /^\d+$/.test(v) ? 'int' : 'str', text: v})
		}
	}
	return (row) => at(row.record, path).some((v) => test(v) || v.items?.some(test))
}

// at returns the values at a path, also through lists.
export function at(v, path) {
	if (path.length === 0) return [v]
	if (v.items) return v.items.flatMap((item) => at(item, path))
	return (v.entries ?? []).flatMap(([key, value]) => key.text === path[0] ? at(value, path.slice(1)) : [])
}

// compare returns a test of a value. A colon matches a part of a string, and * any value.
function compare(is, wanted) {
	if (is === '=') return (v) => textOf(v) === wanted
	if (is !== ':') return (v) => compares(v, is, wanted)
	if (wanted === '*') return () => true
	const lower = wanted.toLowerCase()
	return (v) => {
		const text = textOf(v).toLowerCase()
		return v.kind === 'str' || v.text === undefined ? text.includes(lower) : text === lower
	}
}

const whole = /^-?\d+$/

function compares(v, is, wanted) {
	let a = v.text, b = wanted
	if (a === undefined || v.kind === 'null' || v.kind === 'bool') return false
	if (['int', 'float', 'decimal'].includes(v.kind)) {
		const exact = whole.test(a) && whole.test(b);
		[a, b] = exact ? [BigInt(a), BigInt(b)] : [Number(a), Number(b)]
	}
	switch (is) {
	case '>': return a > b
	case '<': return a < b
	case '>=': return a >= b
	default: return a <= b
	}
}
