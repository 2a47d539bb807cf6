// A list of many rows, of which the document holds those that are seen.

import {at, pathOf} from './find.js'
import {element, localTime, tokens, visible} from './text.js'

const height = 20 // pixels of a row, as style.css has it
const beyond = 10 // rows that are made before and after those that are seen
const wide = 500 // characters of a line, about
const some = 4 * wide // bytes of a record that make a line
const most = 64 << 10 // bytes in which columns are looked for

export class List {
	rows = [] // those shown
	selected = null
	#columns = [] // paths
	#widths = [] // of them, in characters: the longest that was seen
	#gone = 0 // rows that were shown and are no more
	#seen = 0 // rows that had come when it was paused
	#paused = false
	#top = 0 // where it is scrolled to, and
	#high = 0 // how high it is: neither is asked for while things change
	#tall = -1 // pixels of all rows
	#made = new Map() // elements by row
	#frame = 0
	#grown = false // some column has

	// open is called with a row that is opened, changed when it is paused or goes on, and
	// fit with how long what is in the columns is.
	constructor(root, {open, changed, fit}) {
		Object.assign(this, {root, open, changed, fit})
		this.space = element('div', 'space')
		root.append(this.space)
		root.addEventListener('scroll', () => this.#scrolled(), {passive: true})
		root.addEventListener('click', (event) => {
			const made = event.target.closest('.row')
			if (!made || !getSelection().isCollapsed) return
			this.select(made.row)
			this.open(made.row)
		})
		document.addEventListener('selectionchange', () => {
			const s = getSelection()
			if (!s.isCollapsed && root.contains(s.anchorNode)) this.pause(true)
		})
		new ResizeObserver(([entry]) => {
			this.#high = entry.contentRect.height
			this.draw()
		}).observe(root)
	}

	get paused() { return this.#paused }
	get fresh() { return this.#paused ? this.#gone + this.rows.length - this.#seen : 0 }
	get #first() { return Math.floor(this.#top / height) }

	// looksAt reports whether somebody reads rows before a number.
	looksAt(seq) { return this.#paused && this.rows[this.#first]?.seq < seq }

	pause(is) {
		if (is === this.#paused) return
		this.#paused = is
		this.#seen = this.#gone + this.rows.length
		this.changed()
		this.draw()
	}

	// show replaces what is shown, and begins at its end.
	show(rows) {
		this.rows = rows
		this.#gone = 0
		this.#paused = false
		this.changed()
		this.draw()
	}

	// columns are the paths whose values are shown in place of records; none: records are.
	set columns(paths) {
		this.#columns = paths.map(pathOf)
		this.#widths = paths.map((path) => path.length + 3)
		this.fit(this.#widths)
		for (const e of this.#made.values()) e.remove()
		this.#made.clear()
		this.draw()
	}

	// drop takes the rows before a number away, and returns them. What is seen stays where
	// it is.
	drop(seq) {
		let n = this.rows.findIndex((row) => row.seq >= seq)
		if (n < 0) n = this.rows.length
		if (n === 0) return []
		const gone = this.rows.splice(0, n)
		this.#gone += n
		if (this.#paused) {
			this.#top = Math.max(0, this.#top - n * height)
			this.#render(true)
		}
		return gone
	}

	select(row, near = false) {
		this.selected = row
		if (near) {
			this.pause(true)
			const top = this.rows.indexOf(row) * height, least = top + height - this.#high
			if (top < this.#top || least > this.#top) {
				this.#top = Math.max(0, top < this.#top ? top : least)
				this.#render(true)
				return
			}
		}
		this.draw()
	}

	// step selects the next row, or the one before.
	step(by) {
		if (this.rows.length === 0) return
		const at = this.rows.indexOf(this.selected)
		const to = at < 0 ? this.rows.length - 1 : Math.min(Math.max(at + by, 0), this.rows.length - 1)
		this.select(this.rows[to], true)
	}

	// draw shows what has changed, with the next frame.
	draw() {
		this.#frame ||= requestAnimationFrame(() => {
			this.#frame = 0
			this.#render(false)
		})
	}

	#scrolled() {
		const top = this.root.scrollTop
		if (Math.abs(top - this.#top) < 1) return // it was not scrolled by who reads
		const up = top < this.#top
		this.#top = top
		if (top + this.#high >= this.#tall - 1) this.pause(false)
		else if (up) this.pause(true)
		this.draw()
	}

	// render makes the rows that are seen, and scrolls to where they are. Nothing is read
	// that would make the browser lay the page out before all is there.
	#render(moved) {
		const {root, space, rows} = this
		const tall = rows.length * height
		if (tall !== this.#tall) space.style.height = `${tall}px`
		if (!this.#paused && (tall !== this.#tall || this.#top !== tall - this.#high)) {
			this.#top = Math.max(0, tall - this.#high)
			moved = true
		}
		this.#tall = tall
		const more = this.#paused ? beyond : 1
		const from = Math.max(0, this.#first - more)
		const to = Math.min(rows.length, Math.ceil((this.#top + this.#high) / height) + more)
		const made = new Map(), missing = []
		for (let i = from; i < to; i++) {
			const e = this.#made.get(rows[i])
			if (!e) missing.push(i)
			else {
				this.#made.delete(rows[i])
				this.#put(e, rows[i], i)
			}
			made.set(rows[i], e)
		}
		const spare = [...this.#made.values()]
		for (const i of missing) {
			const e = spare.pop() ?? space.appendChild(this.#element())
			this.#fill(e, rows[i])
			this.#put(e, rows[i], i)
			made.set(rows[i], e)
		}
		for (const e of spare) e.remove()
		this.#made = made
		if (this.#grown) this.fit(this.#widths)
		this.#grown = false
		if (moved) root.scrollTop = this.#top
		const selected = made.get(this.selected)
		if (selected) root.setAttribute('aria-activedescendant', selected.id)
		else root.removeAttribute('aria-activedescendant')
	}

	#put(e, row, i) {
		if (e.at !== i) e.style.top = `${(e.at = i) * height}px`
		const selected = row === this.selected
		if (e.selected !== selected) e.ariaSelected = String(e.selected = selected)
	}

	#element() {
		const e = element('div', 'row')
		e.role = 'option'
		return e
	}

	#fill(e, row) {
		e.row = row
		e.id = `row-${row.seq}`
		const time = element('span', 'time', localTime(row.field('time'), false)), topic = element('bdi', 'topic', visible(row.field('topic')))
		const parts = this.#columns.length ? this.#cells(row) : [line(row)]
		e.replaceChildren(time, ' ', topic, ' ', ...parts)
	}

	#cells(row) {
		const record = row.some(most)
		return this.#columns.map((path, i) => {
			const e = element('bdi', 'cell')
			let long = 0
			for (const v of at(record, path).slice(0, 20)) {
				if (e.firstChild) e.append(', ')
				long += write(e, v, wide)
			}
			if (long > this.#widths[i]) {
				this.#widths[i] = long
				this.#grown = true
			}
			return e
		})
	}
}

// line returns the element of a record in one line.
function line(row) {
	const e = element('bdi', '')
	write(e, row.some(some), wide)
	if (row.bytes.length > some && e.textContent.length < wide) e.append(' …')
	return e
}

// write writes a value, and returns how long it is. Keys have no elements of their own,
// since each costs time.
function write(e, v, most) {
	let plain = '', long = 0
	for (const [name, text] of tokens(v, most)) {
		long += text.length
		if (name === '' || name === 'key') plain += text
		else {
			if (plain) e.append(plain)
			plain = ''
			e.append(element('span', name, text))
		}
	}
	e.append(plain)
	return long
}
