// Tables of what the server has.

import {list} from './api.js'
import {element, localTime, visible} from './text.js'

const pages = 10 // of 1,000 entries each, at most

const number = (v) => typeof v === 'number' ? v.toLocaleString('en-US') : String(v ?? '')
const size = (v) => {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
	let i = 0
	for (; v >= 1024 && i < units.length - 1; i++) v /= 1024
	return `${i ? v.toFixed(1) : v} ${units[i]}`
}
const time = (v) => v ? localTime(v) : ''

// Each column is its title, its key, how it is written, and whether it is a number.
const kinds = {
	topics: [['Topic', 'topic'], ['Records', 'records', number, true], ['Records/s', 'rate', number, true], ['Bytes', 'bytes', size, true], ['Oldest', 'oldest', time], ['Newest', 'newest', time]],
	producers: [['Producer', 'producer'], ['Topic', 'topic'], ['Next number', 'next', number, true], ['Seen', 'seen', time]],
	cursors: [['Cursor', 'cursor'], ['Reads', 'subscription'], ['Lag', 'lag', number, true], ['Position', 'position'], ['Saved', 'saved', time]],
}

export const isTable = (view) => view in kinds || view === 'server'

let before = new Map() // records by topic, when they were last asked for
let asked = 0

// fill shows a table in a place.
export async function fill(place, view) {
	if (view === 'server') {
		const about = await list('/v1/status')
		show(place, [['', 'name'], ['', 'value']], Object.entries(about).map(([name, value]) => ({name, value: String(value)})))
		return
	}
	const {entries, more} = await all(view)
	if (view === 'topics') rates(entries)
	show(place, kinds[view], entries)
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

// rates notes how many records came a second since the last time.
function rates(topics) {
	const now = performance.now(), counts = new Map()
	for (const t of topics) {
		const last = before.get(t.topic)
		if (last !== undefined) t.rate = Math.max(0, Math.round((t.records - last) * 1000 / (now - asked)))
		counts.set(t.topic, t.records)
	}
	before = counts
	asked = now
}

function show(place, columns, entries) {
	const head = element('tr', '', ...columns.map(([title, , , right]) => element('th', right ? 'right' : '', title)))
	const rows = entries.map((entry) => element('tr', '', ...columns.map(([, key, write, right]) => {
		const text = write ? write(entry[key]) : visible(String(entry[key] ?? ''))
		const cell = element('td', right ? 'right' : '')
		if (key === 'topic') {
			const link = element('a', '', element('bdi', '', text))
			link.href = '#' + new URLSearchParams({topic: entry[key]})
			cell.append(link)
		} else cell.append(element('bdi', '', text))
		return cell
	})))
	place.replaceChildren(element('table', '', element('thead', '', head), element('tbody', '', ...rows)))
}
