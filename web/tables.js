// Tables of the server's topics, cursors and producers.

import {list} from './api.js'
import {element, localTime, number, visible} from './text.js'

const pages = 10 // of at most 1,000 entries each

const size = (v) => {
	if (v === undefined) return ''
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
	let i = 0
	for (; v >= 1024 && i < units.length - 1; i++) v /= 1024
	return `${i ? v.toFixed(1) : v} ${units[i]}`
}
const time = (v) => v ? localTime(v) : ''

// long formats a duration in seconds.
function long(v) {
	for (const [unit, name] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's'], [1e-3, 'ms']]) if (v >= unit) return `${+(v / unit).toPrecision(3)} ${name}`
	return `${+(v * 1e6).toPrecision(3)} µs`
}

const keep = (v) => v && ([v.seconds && long(v.seconds), v.bytes && size(v.bytes)].filter(Boolean).join(', ') || 'all')

// A column is its title, its key, its format, and whether it is a number.
const kinds = {
	topics: [['Topic', 'topic'], ['Records', 'records', number, true], ['Records/s', 'rate', number, true], ['Bytes', 'bytes', size, true], ['Oldest', 'oldest', time], ['Newest', 'newest', time], ['Kept', 'keep', keep]],
	producers: [['Producer', 'producer'], ['Topic', 'topic'], ['Next number', 'next', number, true], ['Records/s', 'rate', number, true], ['Seen', 'seen', time]],
	cursors: [['Cursor', 'cursor'], ['Reads', 'subscription'], ['Lag', 'lag', number, true], ['Position', 'position'], ['Saved', 'saved', time]],
	server: [['', 'name'], ['', 'value']],
}

// grows is the key of an entry that counts records.
const grows = {topics: 'records', producers: 'next', server: 'records'}

export const isTable = (view) => view in kinds

let before = {view: '', at: 0, counts: new Map()} // the last update of a table

// fill shows a table in place.
export async function fill(place, view) {
	const {entries, more} = view === 'server' ? {entries: [await list('/v1/status')]} : await all(view)
	rates(view, entries)
	show(place, kinds[view], view === 'server' ? lines(entries[0]) : entries)
	if (entries.length === 0) place.append(element('p', 'note', `There are no ${view}.`))
	if (more) place.append(element('p', 'note', `There are more than these ${number(entries.length)}.`))
}

async function all(view) {
	const entries = []
	let next = ''
	for (let i = 0; i < pages; i++) {
		const answer = await list(`/v1/${view}${next && '?' + new URLSearchParams({after: next})}`)
		entries.push(...answer[view])
		next = answer.next ?? ''
		if (!next) break
	}
	return {entries, more: next !== ''}
}

// rates computes the records per second since the last update.
function rates(view, entries) {
	const now = performance.now(), counts = new Map()
	for (const e of entries) {
		const name = JSON.stringify([e.topic, e.producer]), last = before.view === view ? before.counts.get(name) : undefined
		if (last !== undefined) e.rate = Math.max(0, Math.round((e[grows[view]] - last) * 1000 / (now - before.at)))
		counts.set(name, e[grows[view]])
	}
	before = {view, at: now, counts}
}

// lines lists the properties of a server.
function lines(s) {
	const said = [
		['version', s.version], ['you are', s.principal],
		['an acknowledged record survives', {memory: 'nothing: it is in memory', os: 'the end of the process', fsync: 'loss of power', replicated: 'loss of a machine', 'replicated+fsync': 'loss of a machine, and of power of all'}[s.durability] + ` (${s.durability})`],
		['takes records', s.ready ? 'yes' : 'no'], ['largest record', size(s.max_record)],
	]
	if (s.started) {
		said.push(['started', `${localTime(s.started)}, ${long((Date.now() - Date.parse(s.started)) / 1000)} ago`],
			['connections', number(s.connections)], ['records since', `${number(s.records)}, ${size(s.bytes)}`], ['records a second', number(s.rate)], ['rejected since', number(s.rejected)])
	}
	if (s.memory) said.push(['memory of records received', size(s.memory.receiving)], ['memory of records read', size(s.memory.reading)], ['memory of the process', size(s.memory.heap)])
	if (s.disk) {
		said.push(['disk of the store', size(s.disk.bytes)], ['free on it', size(s.disk.free)])
		const {count, p50, p99} = s.syncs
		if (count) said.push(['syncs', `${number(count)}: half within ${long(p50)}, 99 of 100 within ${long(p99)}`])
	}
	return said.map(([name, value]) => ({name, value: value ?? ''})).filter(({value}) => value !== '')
}

function show(place, columns, entries) {
	const titled = columns.some(([title]) => title)
	const head = titled ? [element('thead', '', element('tr', '', ...columns.map(([title, , , right]) => element('th', right ? 'right' : '', title))))] : []
	const rows = entries.map((entry) => element('tr', '', ...columns.map(([, key, write, right], i) => {
		const text = write ? write(entry[key]) : visible(String(entry[key] ?? ''))
		const cell = element(titled || i ? 'td' : 'th', right ? 'right' : '')
		if (key === 'topic') {
			const link = element('a', '', element('bdi', '', text))
			link.href = '#' + new URLSearchParams({topic: entry[key]})
			cell.append(link)
		} else cell.append(element('bdi', '', text ?? ''))
		return cell
	})))
	place.replaceChildren(element('table', '', ...head, element('tbody', '', ...rows)))
}
