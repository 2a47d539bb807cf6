// A list of many rows. Only visible rows are in the document.

import {at, pathOf} from './find.js'
import {element, localTime, tokens, visible} from './text.js'

const height = 20 // pixels of a row, as in style.css
const beyond = 10 // rows that are rendered above and below the visible ones
const wide = 500 // characters of a line, approximately
const some = 4 * wide // bytes of a record that fill a line
const most = 64 << 10 // bytes of a record that are searched for columns

export class List {
	rows = [] // shown rows
	selected = null
	#columns = [] // paths
	#widths = [] // of the columns, in characters: the longest value so far
	#gone = 0 // rows that were removed
	#seen = 0 // rows that had arrived when the list was paused
	#paused = false
	#top = 0 // the scroll position and
	#high = 0 // the height, cached to avoid layouts during changes
	#tall = -1 // pixels of all rows
	#made = new Map() // elements by row
	#frame = 0
	#grown = false // a column has become wider

	// open is called with a row that was clicked, changed when the list is paused or
	// resumed, and fit with the widths of the columns.
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

	// looksAt reports whether the user is looking at rows before a number.
	looksAt(seq) { return this.#paused && this.rows[this.#first]?.seq < seq }

	pause(is) {
		if (is === this.#paused) return
		this.#paused = is
		this.#seen = this.#gone + this.rows.length
		this.changed()
		this.draw()
	}

	// show replaces the rows, and scrolls to the end.
	show(rows) {
		this.rows = rows
		this.#gone = 0
		this.#paused = false
		this.changed()
		this.draw()
	}

	// columns are the paths to show as columns. If there are none, rows show whole records.
	set columns(paths) {
		this.#columns = paths.map(pathOf)
		this.#widths = paths.map((path) => path.length + 3)
		this.fit(this.#widths)
		for (const e of this.#made.values()) e.remove()
		this.#made.clear()
		this.draw()
	}

	// drop removes the rows before a number, and returns them. The visible rows do not
	// move.
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

	// step selects the next or the previous row.
	step(by) {
		if (this.rows.length === 0) return
		const at = this.rows.indexOf(this.selected)
		const to = at < 0 ? this.rows.length - 1 : Math.min(Math.max(at + by, 0), this.rows.length - 1)
		this.select(this.rows[to], true)
	}

	// draw shows changes in the next frame.
	draw() {
		this.#frame ||= requestAnimationFrame(() => {
			this.#frame = 0
			this.#render(false)
		})
	}

	#scrolled() {
		const top = this.root.scrollTop
		if (Math.abs(top - this.#top) < 1) return // not scrolled by the user
		const up = top < this.#top
		this.#top = top
		if (top + this.#high >= this.#tall - 1) this.pause(false)
		else if (up) this.pause(true)
		this.draw()
	}

	// render renders the visible rows, and scrolls to them. It reads no property that would
	// force a layout before it is done.
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

// line returns the element of a record as one line.
function line(row) {
	const e = element('bdi', '')
	write(e, row.some(some), wide)
	if (row.bytes.length > some && e.textContent.length < wide) e.append(' …')
	return e
}

// write writes a value, and returns its length. Keys have no elements of their own, since
// each element costs time.
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
