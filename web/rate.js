// A bar chart of how many records arrived when. Dragging selects a range of time.

import {element, localTime} from './text.js'

const most = 120 // bars
const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400] // seconds
const names = [[86400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']]
const svg = 'http://www.w3.org/2000/svg'

export class Rate {
	#counts = new Map() // records by second
	#from = 0 // seconds: where the bars begin
	#step = 1
	#bars = 0
	#timer = 0
	#drawn = -1000

	// chosen is called with the selected range of time.
	constructor(root, chosen) {
		this.root = root
		this.path = document.createElementNS(svg, 'path')
		const image = document.createElementNS(svg, 'svg')
		image.setAttribute('preserveAspectRatio', 'none')
		image.setAttribute('aria-hidden', 'true')
		image.append(this.path)
		this.image = image
		this.mark = element('div', 'mark')
		this.mark.hidden = true
		this.text = element('figcaption', '')
		root.append(image, this.mark, this.text)
		this.#drag(chosen)
	}

	clear() {
		this.#counts.clear()
		this.draw()
	}

	count(row, by) {
		const n = (this.#counts.get(row.second) ?? 0) + by
		if (n > 0) this.#counts.set(row.second, n)
		else this.#counts.delete(row.second)
	}

	// draw draws the counts, at most once per second.
	draw() {
		this.#timer ||= setTimeout(() => {
			this.#timer = 0
			this.#drawn = performance.now()
			this.#render()
		}, Math.max(0, this.#drawn + 1000 - performance.now()))
	}

	#render() {
		let from = Infinity, to = 0
		for (const s of this.#counts.keys()) {
			if (s < from) from = s
			if (s > to) to = s
		}
		this.root.hidden = to === 0
		if (to === 0) return
		const span = to - from + 1
		const step = steps.find((s) => span / s <= most - 1) ?? Math.ceil(span / (most - 1) / 86400) * 86400
		this.#step = step
		this.#from = from - from % step
		this.#bars = Math.floor((to - this.#from) / step) + 1
		const bars = new Uint32Array(this.#bars)
		for (const [s, n] of this.#counts) bars[Math.floor((s - this.#from) / step)] += n
		let high = 0
		for (const n of bars) high = Math.max(high, n)
		let d = ''
		for (const [i, n] of bars.entries()) if (n) d += `M${i} 1h.9v-${Math.max(n / high, 0.03)}h-.9z`
		this.image.setAttribute('viewBox', `0 0 ${this.#bars} 1`)
		this.path.setAttribute('d', d)
		const [unit, name] = names.find(([s]) => step % s === 0)
		const each = step === unit ? `a ${name}` : `in ${step / unit} ${name}s`
		this.text.textContent = `${range(this.#from, this.#from + this.#bars * step)}, at most ${high} records ${each}`
	}

	#drag(chosen) {
		let began = null
		const {root, mark} = this
		const at = (event) => {
			const r = root.getBoundingClientRect()
			return Math.min(1, Math.max(0, (event.clientX - r.left) / r.width))
		}
		const show = (a, b) => {
			mark.style.left = `${100 * Math.min(a, b)}%`
			mark.style.width = `${100 * Math.abs(a - b)}%`
		}
		root.addEventListener('pointerdown', (event) => {
			if (event.button !== 0) return
			began = {at: at(event), from: this.#from, long: this.#bars * this.#step, step: this.#step} // the chart may change meanwhile
			root.setPointerCapture(event.pointerId)
			mark.hidden = false
			show(began.at, began.at)
			event.preventDefault()
		})
		root.addEventListener('pointermove', (event) => began && show(began.at, at(event)))
		root.addEventListener('pointercancel', () => {
			began = null
			mark.hidden = true
		})
		root.addEventListener('pointerup', (event) => {
			if (!began) return
			const {from, long, step} = began, [a, b] = [began.at, at(event)].sort((x, y) => x - y)
			began = null
			mark.hidden = true
			if ((b - a) * root.clientWidth < 4) return
			const begin = from + Math.floor(a * long / step) * step, end = from + Math.ceil(b * long / step) * step
			chosen(new Date(begin * 1000), new Date(end * 1000))
		})
	}
}

// range describes a range of time, with the date of the end if it is on another day.
function range(from, to) {
	const [a, b] = [from, to].map((second) => localTime(new Date(second * 1000).toISOString()).slice(0, -4))
	return `${a} to ${a.slice(0, 10) === b.slice(0, 10) ? b.slice(11) : b}`
}
