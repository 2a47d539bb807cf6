// Saves the shown records as a file. The server writes them in the file's format, as for
// every client, and the page picks those that it shows.

import {get, topicPath} from './api.js'
import {selecting} from './find.js'
import {element} from './text.js'

const slice = 8 // ms of work at a time
const mostColumns = 1000

const types = {ndjson: 'application/x-ndjson', json: 'application/json', csv: 'text/csv'}

// save saves rows of a feed's topic as a file. It reports progress to say.
export async function save(format, {topic, filter, all, shown, columns, say}) {
	if (shown.length === 0) throw new Error('there is nothing to keep')
	const query = {from: all[0].field('position'), limit: all.length, format: format === 'json' ? 'ndjson' : format, ...filter && {filter: selecting(filter)}}
	if (format === 'csv') {
		const names = columns.length ? columns : await keys(shown)
		Object.assign(query, {columns: names.map(cell).join(','), spreadsheet: 1})
	}
	const wanted = new Set(shown.map((row) => row.seq))
	const answer = await get(topicPath(topic, query))
	const ends = format === 'csv' ? new Rows() : new Lines()
	const parts = []
	let i = format === 'csv' ? -1 : 0 // the header row is always wanted
	const take = (text) => {
		if (i < 0 || i < all.length && wanted.has(all[i].seq)) parts.push(text)
		if (++i % 1000 === 0) say(`${i} of ${all.length}`)
	}
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
	for (;;) {
		const {value, done} = await reader.read()
		if (done) break
		ends.split(value, take)
	}
	if (i < all.length) throw new Error(`the server gave ${Math.max(i, 0)} records of ${all.length}: the others are not there any more`)
	const text = format === 'json' ? ['[', parts.map((p) => p.trimEnd()).join(',\n'), ']\n'] : parts
	download(new Blob(text, {type: types[format]}), `${topic.replaceAll('*', 'all')}.${format}`)
	say(`${shown.length} records kept as ${format.toUpperCase()}`)
}

// Lines splits text into lines.
class Lines {
	rest = ''

	split(text, take) {
		this.rest += text
		let from = 0
		for (let to; (to = this.end(from)) >= 0; from = to + 1) take(this.rest.slice(from, to + 1))
		this.rest = this.rest.slice(from)
	}

	end(from) { return this.rest.indexOf('\n', from) }
}

// Rows splits text into rows of CSV (RFC 4180), whose cells may contain line breaks.
class Rows extends Lines {
	end(from) {
		for (let to = from - 1, quotes = 0; ;) {
			const next = this.rest.indexOf('\n', to + 1)
			if (next < 0) return -1
			for (let i = to + 1; i < next; i++) if (this.rest.charCodeAt(i) === 0x22) quotes++
			if (quotes % 2 === 0) return next
			to = next
		}
	}
}

// keys returns the keys of all rows, in order of appearance.
async function keys(rows) {
	const all = new Set()
	let until = performance.now() + slice
	for (const row of rows) {
		for (const [key] of row.record.entries) if (key.kind === 'str') all.add(key.text)
		if (performance.now() > until) {
			await new Promise((resolve) => { setTimeout(resolve) })
			until = performance.now() + slice
		}
	}
	if (all.size > mostColumns) throw new Error(`the records have ${all.size} keys; a table has ${mostColumns} columns at most: say which`)
	return [...all]
}

const cell = (text) => /[",\r\n]|^$/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text

function download(blob, name) {
	const a = element('a', '')
	a.href = URL.createObjectURL(blob)
	a.download = name
	a.click()
	setTimeout(() => URL.revokeObjectURL(a.href), 60_000)
}
