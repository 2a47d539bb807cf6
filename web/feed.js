// A buffer of the newest records as they arrive.

import {get, Problem, problemOf, request, topicPath} from './api.js'
import {decode, fields, skip} from './cbor.js'
import {selecting} from './find.js'

export const most = 100_000 // records
const mostBytes = 128 << 20
const drop = 5000 // records at a time, so that the list is rarely moved
const overhead = 200 // estimated bytes of memory per record
const slice = 8 // ms of work at a time

// A Row is a record with its metadata, decoded when needed.
export class Row {
	static #last = null // the last row and its fields, since most rows are decoded once
	static #at
	#second = 0

	constructor(bytes, seq = 0) {
		this.bytes = bytes
		this.seq = seq // how many rows preceded it
	}

	get #fields() {
		if (Row.#last !== this) {
			Row.#at = fields(this.bytes)
			Row.#last = this
		}
		return Row.#at
	}

	field(name) {
		const at = this.#fields.get(name)
		return at === undefined ? undefined : decode(this.bytes, at).text
	}

	get record() { return decode(this.bytes, this.#fields.get('record')) }

	// some returns the record, of which only the first most bytes are needed.
	some(most) { return decode(this.bytes, this.#fields.get('record'), most) }

	// second returns when it was stored, in seconds since 1970.
	get second() { return this.#second ||= Math.floor(Date.parse(this.field('time')) / 1000) }

	get isFault() { return !this.#fields.has('record') }
}

// after returns the position after another one.
const after = (position) => position.replace(/\d+$/, (n) => String(BigInt(n) + 1n))

// one returns a record by its topic and position.
export async function one(topic, position) {
	const answer = await get(topicPath(topic, {from: position, limit: 1, envelope: 1, format: 'cbor'}))
	const bytes = new Uint8Array(await answer.arrayBuffer())
	const row = bytes.length ? new Row(bytes) : null
	if (!row || row.isFault || row.field('position') !== position) throw new Error(`there is no record at ${position} of ${topic} any more`)
	return row
}

// A Feed follows topics. It calls changed when records have arrived, say when its state has
// changed, and refuse when its filter, a jq expression, can't be used.
export class Feed {
	rows = []
	failed = 0 // records for which the filter failed
	why = '' // the error for the last of them
	dropped = 0 // rows that were removed from the buffer
	#bytes = 0
	#stop = new AbortController()
	#resumed = () => {}

	// mayDrop reports whether rows before a number may be removed because nobody is looking
	// at them.
	constructor({topic, from, to, filter, changed, say, refuse, mayDrop}) {
		Object.assign(this, {topic, from, to, filter, changed, say, refuse, mayDrop})
		this.#run()
	}

	close() {
		this.#stop.abort()
		this.#resumed()
	}

	// resume continues a feed that waits for room.
	resume() { this.#resumed() }

	async #run() {
		const {signal} = this.#stop
		let from = this.from, wait = 250, lost = false
		while (!signal.aborted) {
			const attempt = new AbortController()
			const end = () => attempt.abort()
			signal.addEventListener('abort', end)
			let watch
			try {
				this.say(lost ? 'connecting again…' : 'connecting…', lost)
				const query = {from, follow: 1, envelope: 1, format: 'cbor', ...this.to && {to: this.to}, ...this.filter && {filter: selecting(this.filter)}}
				const answer = await request(topicPath(this.topic, query), {signal: attempt.signal})
				if (!answer.ok) {
					const p = await problemOf(answer)
					const next = beyond(p)
					if (next) {
						from = next
						this.say(p.message, true)
						continue
					}
					if (this.#isFilters(p)) {
						this.say('')
						this.refuse(await this.#reason(p, attempt.signal))
						return
					}
					if (answer.status < 500 && answer.status !== 429) {
						this.say(p.message, true)
						return
					}
					throw p
				}
				// If the connection breaks before the first record, start again from this
				// time.
				if (from === 'latest') from = new Date(answer.headers.get('Date') ?? Date.now()).toISOString()
				this.say(lost ? `connected again, from ${from}` : 'live')
				lost = false
				wait = 250
				watch = setInterval(() => alive(signal).catch(end), 15_000)
				from = await this.#read(answer.body.getReader(), from, signal)
				if (this.to && Date.parse(this.to) < Date.now()) {
					this.say('all of that time')
					return
				}
				throw Object.assign(new Error('the server ended the answer'), {next: from})
			} catch (err) {
				if (signal.aborted) return
				if (this.#isFilters(err)) {
					this.say('')
					this.refuse(err.message)
					return
				}
				from = err.next ?? from
				lost = true
				this.say(`not connected: ${err.cause?.message ?? err.message}; trying again from ${from}`, true)
				await new Promise((resolve) => {
					const timer = setTimeout(resolve, wait)
					signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, {once: true})
				})
				wait = Math.min(2 * wait, 5000)
			} finally {
				clearInterval(watch)
				signal.removeEventListener('abort', end)
				attempt.abort()
			}
		}
	}

	// isFilters reports whether a problem was caused by the filter: by its expression, by
	// its cost, or because the server allows no filters.
	#isFilters(p) { return this.filter && (['malformed', 'limit'].includes(p.code) && /filter/.test(p.message) || p.status === 501) }

	// reason returns the server's error for the expression alone. Inside another
	// expression, the offsets would not be those of the user's text.
	async #reason(p, signal) {
		if (p.code !== 'malformed') return p.message
		const alone = await request(topicPath(this.topic, {filter: this.filter, limit: 0}), {signal})
		return alone.ok ? p.message : (await problemOf(alone)).message
	}

	// read reads records until the answer ends. Its errors have the position to continue
	// from in next.
	async #read(reader, from, signal) {
		let rest = new Uint8Array(0)
		try {
			for (;;) {
				const {value, done} = await reader.read()
				if (done) return from
				let buf = value
				if (rest.length) {
					buf = new Uint8Array(rest.length + value.length)
					buf.set(rest)
					buf.set(value, rest.length)
				}
				let i = 0, last = null, until = performance.now() + slice
				for (let end; (end = skip(buf, i)) > 0; i = end) {
					if (performance.now() > until) {
						await new Promise((resolve) => { setTimeout(resolve) })
						until = performance.now() + slice
					}
					const row = new Row(buf.subarray(i, end), this.dropped + this.rows.length)
					if (row.bytes[1] !== 0x68) { // the length of "position": only faults do not begin with it
						const p = new Problem(0, {error: row.field('error'), code: row.field('code')})
						throw Object.assign(p, {next: beyond(p)})
					}
					last = row
					if (this.filter && row.isFault) {
						this.failed++
						this.why = row.field('error')
						continue
					}
					this.rows.push(row)
					this.#bytes += row.bytes.length + overhead
				}
				rest = buf.slice(i)
				if (!last) continue
				from = after(last.field('position'))
				this.changed()
				while ((this.rows.length > most || this.#bytes > mostBytes) && !signal.aborted) {
					if (this.mayDrop(this.dropped + drop)) this.#drop()
					else await new Promise((resolve) => { this.#resumed = resolve })
				}
			}
		} catch (err) {
			throw Object.assign(new Error(err.message), {code: err.code, next: err.next ?? from})
		}
	}

	#drop() {
		const gone = this.rows.splice(0, Math.min(drop, this.rows.length))
		for (const row of gone) this.#bytes -= row.bytes.length + overhead
		this.dropped += gone.length
		this.changed()
	}
}

// beyond returns where to continue after lost records.
const beyond = (p) => p.code === 'lost' ? /from=(\S+) goes on/.exec(p.message)?.[1] : undefined

async function alive(signal) {
	await fetch('/healthz', {cache: 'no-store', signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)])})
}
