// The view of one record.

import {get, problemOf, request, topicPath} from './api.js'
import {hex} from './cbor.js'
import {pathTo, termOf} from './find.js'
import {brackets, className, element, leaf, literal, localTime, visible} from './text.js'

const part = 200 // parts of a container that are shown at once
const long = 10_000 // characters of a string, or bytes, that are shown

const deep = 8 // levels of containers that are open at first
const short = 200 // characters of a value that a click can search for

// showRecord shows a row in place. It calls close to be closed, look with a term to search
// for, and column with a path.
export function showRecord(place, row, {close, look, column}) {
	const said = element('span', 'note')
	said.role = 'status'
	const button = (text, act) => {
		const b = element('button', '', text)
		b.type = 'button'
		b.addEventListener('click', act)
		return b
	}
	const attempt = (name, act) => button(name, async () => {
		try {
			said.textContent = `${name}: ${await act()}`
			said.className = 'good'
		} catch (err) {
			said.textContent = err.message
			said.className = 'bad'
		}
	})
	const copy = (name, text) => attempt(name, async () => {
		await toClipboard(await text())
		return 'copied'
	})
	const about = element('dl', '')
	const tell = (name, ...text) => about.append(element('dt', '', name), element('dd', '', ...text))
	const topic = row.field('topic'), position = row.field('position'), time = row.field('time')
	const known = (name, text) => tell(name, element('bdi', '', visible(text)), ...picks(`@${name}`, {text}, {look, column}))
	known('topic', topic)
	tell('position', position)
	tell('time', `${localTime(time)} (${time})`)
	const happened = row.field('event_time')
	if (happened) tell('event time', `${localTime(happened)} (${happened})`)
	for (const name of ['producer', 'number', 'principal']) {
		const text = row.field(name)
		if (text !== undefined) known(name, text)
	}
	const record = row.record
	const tree = element('div', 'tree', ...branches(record, [], {look, column}))
	place.replaceChildren(
		element('div', 'buttons',
			element('span', 'note', 'Copy'),
			copy('JSON', () => as(topic, position, {format: 'ndjson'})),
			copy('Python', () => as(topic, position, {format: 'python', exact: 1})),
			copy('curl', () => curl(topic, position)),
			copy('Link', () => location.href),
			...topic === '_rejected' ? [attempt('Retry', () => retry(record, position))] : [],
			button('Close', close), said),
		about, tree)
	place.hidden = false
	place.scrollTop = 0
}

// as returns a record as the server formats it.
async function as(topic, position, query) {
	const text = await (await get(topicPath(topic, {from: position, limit: 1, ...query}))).text()
	return text.replace(/\n$/, '')
}

// curl returns a command that sends the record again, exactly.
async function curl(topic, position) {
	const python = await as(topic, position, {format: 'python', exact: 1})
	return `curl -s -H 'Content-Type: text/x-python' --data-binary ${shell(python)} ${shell(`${location.origin}/v1/topics/${encodeURIComponent(topic)}`)}`
}

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`

async function toClipboard(text) {
	if (navigator.clipboard) return navigator.clipboard.writeText(text)
	const area = element('textarea', '') // for pages without TLS that are not on this machine
	area.value = text
	document.body.append(area)
	area.select()
	const done = document.execCommand('copy')
	area.remove()
	if (!done) throw new Error('the browser lets nothing be copied')
}

// retry sends a rejected record to its topic again. Its key makes a second retry harmless.
async function retry(record, position) {
	const of = (name) => record.entries.find(([key]) => key.text === name)?.[1]
	const topic = of('topic')?.text, bytes = of('bytes')?.bytes, type = types[of('format')?.text]
	if (of('position')) throw new Error(`it is in ${topic}, at ${of('position').text}: a reader failed with it`)
	if (!topic || !bytes) throw new Error('where it was to go, or what it was, is not kept')
	if (of('truncated')?.text === 'true') throw new Error(`only ${bytes.length} of its ${of('size')?.text} bytes are kept`)
	if (!type) throw new Error('its format is not known')
	const answer = await request(topicPath(topic, {}), {method: 'POST', body: bytes, headers: {'Content-Type': type, 'Idempotency-Key': `retry.${position}`}})
	if (!answer.ok) throw await problemOf(answer)
	const {accepted, rejections, rejected} = await answer.json()
	if (rejections) throw new Error(`rejected again: ${rejected[0].error}`)
	return `${accepted} stored in ${topic}`
}

// types maps the formats of records to media types.
const types = {
	json: 'application/json', cbor: 'application/cbor', msgpack: 'application/msgpack',
	pickle: 'application/x-python-pickle', python: 'text/x-python',
}

// branches returns elements for the parts of a container at a path; not all of them at
// first.
function branches(v, path, by, level = 1) {
	const all = v.entries ?? v.items
	const make = (from) => {
		const next = all.slice(from, from + part).map((entry, i) => {
			if (!v.entries) return node(entry, element('span', 'note', String(from + i)), path, by, level)
			const [key, value] = entry, has = path && !key.items && !key.entries && key.kind === 'str'
			return node(value, keyOf(key), has ? [...path, key.text] : null, by, level)
		})
		const rest = all.length - from - next.length
		if (rest > 0) {
			const more = element('button', '', `${rest} more`)
			more.type = 'button'
			more.addEventListener('click', () => more.replaceWith(...make(from + next.length)))
			next.push(more)
		}
		return next
	}
	return make(0)
}

const keyOf = (key) => element('bdi', 'key', key.items || key.entries ? `${brackets(key)[0]}…${brackets(key)[1]}` : leaf(key, short))

// picks returns buttons that search for a value at a path, exclude it, or show it as a
// column.
function picks(text, v, {look, column}) {
	const pick = (sign, title, act) => {
		const b = element('button', 'pick', sign)
		b.type = 'button'
		b.title = b.ariaLabel = title
		b.addEventListener('click', act)
		return b
	}
	const made = []
	if ((v.text ?? v.bytes ?? '').length <= short) {
		made.push(pick('+', `only records with this ${text}`, () => look(termOf(text, v))),
			pick('−', `only records without this ${text}`, () => look('-' + termOf(text, v))))
	}
	if (!text.startsWith('@')) made.push(pick('▥', `${text} as a column`, () => column(text)))
	return made
}

// node returns the element of a value, with its name, at an optional path.
function node(v, name, path, by, level) {
	const picked = path?.length ? picks(pathTo(path), v, by) : []
	if (!v.items && !v.entries) return element('div', 'leaf', name, ': ', ...leafNodes(v), ' ', ...picked)
	const [open, close] = brackets(v), n = (v.items ?? v.entries).length
	const d = element('details', '', element('summary', '', name, ': ', open + (n ? '…' : '') + close, ' ', element('span', 'note', `${v.kind} of ${n}`)))
	const fill = () => {
		if (d.open && d.children.length === 1) d.append(...branches(v, path, by, level + 1))
	}
	d.addEventListener('toggle', fill)
	d.open = n > 0 && n <= 20 && level <= deep
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
