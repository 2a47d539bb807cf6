// A record that is opened.

import {get, topicPath} from './api.js'
import {hex} from './cbor.js'
import {brackets, className, element, leaf, literal, localTime, visible} from './text.js'

const part = 200 // of a container that are shown at once
const long = 10_000 // characters of a text, or bytes, that are shown

// showRecord shows a row in a place. close is called where who looks is done.
export function showRecord(place, row, close) {
	const said = element('span', 'note')
	said.role = 'status'
	const button = (text, act) => {
		const b = element('button', '', text)
		b.type = 'button'
		b.addEventListener('click', act)
		return b
	}
	const copy = (name, text) => button(name, async () => {
		try {
			await toClipboard(await text())
			said.textContent = `${name}: copied`
			said.className = 'good'
		} catch (err) {
			said.textContent = err.message
			said.className = 'bad'
		}
	})
	const about = element('dl', '')
	const tell = (name, ...text) => about.append(element('dt', '', name), element('dd', '', ...text))
	const topic = row.field('topic'), position = row.field('position'), time = row.field('time')
	tell('topic', element('bdi', '', visible(topic)))
	tell('position', position)
	tell('time', `${localTime(time)} (${time})`)
	const happened = row.field('event_time')
	if (happened) tell('event time', `${localTime(happened)} (${happened})`)
	for (const name of ['producer', 'number', 'principal']) {
		const text = row.field(name)
		if (text !== undefined) tell(name, element('bdi', '', visible(text)))
	}
	const tree = element('div', 'tree', ...branches(row.record))
	place.replaceChildren(
		element('div', 'buttons',
			copy('JSON', () => as(topic, position, {format: 'ndjson'})),
			copy('Python', () => as(topic, position, {format: 'python', exact: 1})),
			copy('curl', () => curl(topic, position)),
			copy('Link', () => location.href),
			button('Close', close), said),
		about, tree)
	place.hidden = false
	place.scrollTop = 0
}

// as returns a record as the server writes it.
async function as(topic, position, query) {
	const text = await (await get(topicPath(topic, {from: position, limit: 1, ...query}))).text()
	return text.replace(/\n$/, '')
}

// curl returns a command that sends the record again, as exact as it is.
async function curl(topic, position) {
	const python = await as(topic, position, {format: 'python', exact: 1})
	return `curl -s -H 'Content-Type: text/x-python' --data-binary ${shell(python)} ${shell(`${location.origin}/v1/topics/${encodeURIComponent(topic)}`)}`
}

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`

async function toClipboard(text) {
	if (navigator.clipboard) return navigator.clipboard.writeText(text)
	const area = element('textarea', '') // for pages without TLS, but for those of this machine
	area.value = text
	document.body.append(area)
	area.select()
	const done = document.execCommand('copy')
	area.remove()
	if (!done) throw new Error('the browser lets nothing be copied')
}

// branches returns the elements of the parts of a container, some at first.
function branches(v) {
	const all = v.entries ?? v.items
	const made = []
	const make = (from) => {
		const next = all.slice(from, from + part).map((entry, i) => v.entries ? node(entry[1], keyOf(entry[0])) : node(entry, element('span', 'note', String(from + i))))
		const rest = all.length - from - next.length
		if (rest > 0) {
			const more = element('button', '', `${rest} more`)
			more.type = 'button'
			more.addEventListener('click', () => more.replaceWith(...make(from + next.length)))
			next.push(more)
		}
		return next
	}
	made.push(...make(0))
	return made
}

const keyOf = (key) => element('bdi', 'key', key.items || key.entries ? `${brackets(key)[0]}…${brackets(key)[1]}` : leaf(key, 200))

// node returns the element of a value, after its name.
function node(v, name) {
	if (!v.items && !v.entries) return element('div', 'leaf', name, ': ', ...leafNodes(v))
	const [open, close] = brackets(v), n = (v.items ?? v.entries).length
	const d = element('details', '', element('summary', '', name, ': ', open + (n ? '…' : '') + close, ' ', element('span', 'note', `${v.kind} of ${n}`)))
	const fill = () => {
		if (d.open && d.children.length === 1) d.append(...branches(v))
	}
	d.addEventListener('toggle', fill)
	d.open = n > 0 && n <= 20
	return d
}

function leafNodes(v) {
	const value = (text) => element('bdi', className(v.kind), text)
	const note = (text) => element('span', 'note', text)
	const more = (n) => n > long ? ` (the first ${long} of ${n})` : ''
	switch (v.kind) {
	case 'str': return v.text.length > long ? [value(leaf(v, long)), note(more(v.text.length))] : [value(leaf(v))]
	case 'bytes':
	case 'bytearray': {
		const some = v.bytes.subarray(0, long)
		return [value(literal(some)), ' ', note(`${v.kind}, hex ${hex(some)}${more(v.bytes.length)}`)]
	}
	case 'datetime': {
		const local = v.instant && localTime(v.instant)
		const utc = local && new Date(v.instant).toISOString()
		return [value(leaf(v)), ' ', note(local ? `datetime; here ${local}, in UTC ${utc}` : 'datetime')]
	}
	case 'bool':
	case 'null': return [value(leaf(v))]
	default: return [value(leaf(v)), ' ', note(v.kind)]
	}
}
