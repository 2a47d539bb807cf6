// A list of many rows, of which the document holds those that are seen.

import {element, localTime, tokens, visible} from './text.js'

const height = 20 // pixels of a row, as style.css has it
const beyond = 10 // rows that are made before and after those that are seen
const wide = 500 // characters of a line, about

export class List {
	rows = [] // those shown
	selected = null
	#gone = 0 // rows that were shown and are no more
	#seen = 0 // rows that had come when it was paused
	#paused = false
	#top = 0
	#made = new Map() // elements by row
	#frame = 0

	// open is called with a row that is opened, changed when it is paused or goes on.
	constructor(root, {open, changed}) {
		Object.assign(this, {root, open, changed})
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
		new ResizeObserver(() => this.draw()).observe(root)
	}

	get paused() { return this.#paused }
	get fresh() { return this.#paused ? this.#gone + this.rows.length - this.#seen : 0 }
	get #first() { return Math.floor(this.root.scrollTop / height) }

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

	// drop takes the rows before a number away. What is seen stays where it is.
	drop(seq) {
		let n = this.rows.findIndex((row) => row.seq >= seq)
		if (n < 0) n = this.rows.length
		if (n === 0) return
		this.rows.splice(0, n)
		this.#gone += n
		if (this.#paused) {
			this.#top = Math.max(0, this.root.scrollTop - n * height)
			this.#render(this.#top)
		}
	}

	select(row, near = false) {
		this.selected = row
		if (near) {
			this.pause(true)
			const at = this.rows.indexOf(row) * height
			const bottom = at + height - this.root.clientHeight
			if (at < this.root.scrollTop) this.root.scrollTop = at
			else if (bottom > this.root.scrollTop) this.root.scrollTop = bottom
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
			this.#render()
		})
	}

	#scrolled() {
		const {scrollTop, scrollHeight, clientHeight} = this.root
		if (scrollTop + clientHeight >= scrollHeight - 1) this.pause(false) // also where there is more room now
		else if (scrollTop < this.#top) this.pause(true)
		this.#top = scrollTop
		this.draw()
	}

	#render(top) {
		const {root, space, rows} = this
		space.style.height = `${rows.length * height}px`
		if (!this.#paused) top = rows.length * height
		if (top !== undefined) {
			root.scrollTop = top
			this.#top = root.scrollTop
		}
		const from = Math.max(0, this.#first - beyond)
		const to = Math.min(rows.length, Math.ceil((root.scrollTop + root.clientHeight) / height) + beyond)
		const made = new Map()
		for (let i = from; i < to; i++) {
			const row = rows[i], e = this.#made.get(row) ?? this.#make(row)
			this.#made.delete(row)
			e.style.top = `${i * height}px`
			e.ariaSelected = String(row === this.selected)
			if (!e.parentNode) space.append(e)
			made.set(row, e)
		}
		for (const e of this.#made.values()) e.remove()
		this.#made = made
	}

	#make(row) {
		const e = element('div', 'row', element('span', 'time', localTime(row.field('time'), false)), ' ',
			element('bdi', 'topic', visible(row.field('topic'))), ' ')
		const said = element('bdi', '')
		for (const [name, text] of tokens(row.record, wide)) said.append(name ? element('span', name, text) : text)
		e.append(said)
		e.role = 'option'
		e.row = row
		return e
	}
}
