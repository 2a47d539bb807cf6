// The page: its views, and its address, which has all that is to be seen in it.

import {forgetToken, hasToken, list as ask} from './api.js'
import {Feed, one} from './feed.js'
import {matcher} from './find.js'
import {List} from './list.js'
import {showRecord} from './record.js'
import {startSending} from './send.js'
import {fill, isTable} from './tables.js'

const $ = (id) => document.getElementById(id)
const every = 3000 // ms between two looks at a table
const pause = 100 // ms between two drawings of what comes
const slice = 8 // ms of work at a time

const digits = new Intl.NumberFormat('en-US')

const defaults = {view: 'live', topic: '*', from: '10m', find: '', open: ''}
let state = {}
let feed = null
let match = null
let searched = 0 // rows of the feed that were compared, of all that it had
let searching = false
let table = 0 // a timer

const list = new List($('list'), {open: (row) => go({open: `${row.field('topic')}@${row.field('position')}`}), changed: tell})

// go changes the address, and with it what is seen.
function go(change, replace = false) {
	history[replace ? 'replaceState' : 'pushState'](null, '', address(change))
	follow()
}

// address returns the address of what is seen, but for a change.
function address(change) {
	const entries = Object.entries({...state, ...change})
	return '#' + new URLSearchParams(entries.filter(([name, value]) => value !== defaults[name]))
}

// follow makes what is seen that of the address.
function follow() {
	const before = state
	state = {...defaults, ...Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].filter(([name]) => name in defaults))}
	const live = state.view === 'live'
	for (const a of document.querySelectorAll('nav a')) {
		a.href = address({view: a.dataset.view, open: ''})
		a.ariaCurrent = a.dataset.view === state.view ? 'page' : null
	}
	$('live').hidden = !live
	$('send').hidden = state.view !== 'send'
	$('table').hidden = !isTable(state.view)
	if (live) {
		$('topic').value = state.topic === '*' ? '' : state.topic
		$('find').value = state.find
		if (![...$('from').options].some((o) => o.value === state.from)) $('from').add(new Option(state.from))
		$('from').value = state.from
		if (!feed || before.topic !== state.topic || before.from !== state.from) start()
		else if (before.find !== state.find) search()
		if (before.open !== state.open) open()
	}
	clearTimeout(table)
	if (isTable(state.view)) {
		if (before.view !== state.view) $('table').replaceChildren()
		look(state.view)
	}
	if (state.view === 'send') $('send-topic').value ||= state.topic === '*' ? '' : state.topic
}

function say(text, bad = false) {
	$('state').textContent = text
	$('state').className = bad ? 'bad' : ''
}

// start reads anew.
function start() {
	feed?.close()
	searched = 0
	let mine = null
	feed = mine = new Feed({
		topic: state.topic, from: state.from, say: (...what) => (mine === null || mine === feed) && say(...what), changed: () => mine === feed && arrived(),
		mayDrop: (seq) => !list.looksAt(seq),
	})
	search()
}

// search compares all rows anew.
function search() {
	match = matcher(state.find)
	searched = feed.dropped
	list.show([])
	arrived()
	tell()
}

// arrived shows what has come and is looked for, a slice of time after the other.
function arrived() {
	list.drop(feed.dropped)
	compare()
}

let drawing = 0 // a timer
let drawn = 0

// soon shows what has come, a few times a second: nobody reads faster.
function soon() {
	drawing ||= setTimeout(() => {
		drawing = 0
		drawn = performance.now()
		list.draw()
		tell()
	}, Math.max(0, drawn + pause - performance.now()))
}

function compare() {
	if (searching) return
	const until = performance.now() + slice
	for (searched = Math.max(searched, feed.dropped); searched < feed.dropped + feed.rows.length; searched++) {
		if (match && searched % 16 === 0 && performance.now() > until) {
			searching = true
			setTimeout(() => {
				searching = false
				compare()
			})
			break
		}
		const row = feed.rows[searched - feed.dropped]
		if (!match || match(row)) list.rows.push(row)
	}
	soon()
}

// tell says how much there is.
function tell() {
	const fresh = list.fresh, n = (v) => digits.format(v)
	$('new').hidden = fresh === 0
	$('new').textContent = `${n(fresh)} new ↓`
	$('pause').ariaPressed = String(list.paused)
	$('pause').textContent = list.paused ? 'Paused' : 'Pause'
	const rows = feed?.rows.length ?? 0
	$('count').textContent = match ? `${n(list.rows.length)} of ${n(rows)}${searching ? ' …' : ''}` : `${n(rows)} record${rows === 1 ? '' : 's'}`
	if (!list.paused) feed?.resume()
}

// open shows the record that the address names.
async function open() {
	const wanted = state.open, at = wanted.lastIndexOf('@')
	if (!wanted) {
		$('record').hidden = true
		$('record').replaceChildren()
		return
	}
	const close = () => go({open: ''})
	try {
		const is = (row) => row.field('position') === wanted.slice(at + 1) && row.field('topic') === wanted.slice(0, at)
		const row = list.selected && is(list.selected) ? list.selected : await one(wanted.slice(0, at), wanted.slice(at + 1))
		if (state.open === wanted) showRecord($('record'), row, close)
	} catch (err) {
		if (state.open !== wanted) return
		$('record').replaceChildren(err.message)
		$('record').hidden = false
	}
}

// look shows a table, and again after a while.
async function look(view) {
	try {
		await fill($('table'), view)
	} catch (err) {
		const p = document.createElement('p')
		p.className = 'bad'
		p.textContent = err.message
		$('table').replaceChildren(p)
	}
	if (state.view !== view) return
	clearTimeout(table)
	table = setTimeout(() => look(view), every)
}

$('what').addEventListener('submit', (event) => event.preventDefault())
$('topic').addEventListener('change', () => go({topic: $('topic').value.trim() || '*'}))
$('topic').addEventListener('focus', async () => {
	const {topics} = await ask('/v1/topics').catch(() => ({topics: []}))
	$('topics-known').replaceChildren(...topics.map((t) => new Option(t.topic, t.topic)))
})
$('from').addEventListener('change', () => go({from: $('from').value}))
let typed = 0
$('find').addEventListener('input', () => {
	clearTimeout(typed)
	typed = setTimeout(() => go({find: $('find').value}, true), 200)
})
$('pause').addEventListener('click', () => list.pause(!list.paused))
$('new').addEventListener('click', () => list.pause(false))
$('forget').addEventListener('click', () => {
	forgetToken()
	location.reload()
})
$('forget').hidden = !hasToken()

document.addEventListener('keydown', (event) => {
	if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return
	if (event.key === 'Escape' && state.open) return go({open: ''})
	if (event.target.closest('input, select, textarea')) return
	if (event.key === '?') return $('help').showModal()
	if (state.view !== 'live') return
	switch (event.key) {
	case '/':
		$('find').focus()
		break
	case 'j':
		list.step(1)
		break
	case 'k':
		list.step(-1)
		break
	case 'Enter':
		if (!list.selected || event.target.closest('button, a, summary')) return
		list.open(list.selected)
		break
	case ' ':
		if (event.target.closest('button, a, summary')) return
		list.pause(!list.paused)
		break
	default:
		return
	}
	event.preventDefault()
})

addEventListener('popstate', follow)
startSending($('sending'))
follow()
