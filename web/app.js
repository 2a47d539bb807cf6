// The page: its views, and its address, which contains the whole state of the view.

import {list as ask, logOut} from './api.js'
import {save} from './export.js'
import {Feed, one} from './feed.js'
import {join, matcher, pathOf, pathsOf, pathTo, split} from './find.js'
import {List} from './list.js'
import {Rate} from './rate.js'
import {showRecord} from './record.js'
import {startSending} from './send.js'
import {fill, isTable} from './tables.js'
import {element, localTime, number} from './text.js'
import {startTheme} from './theme.js'

const $ = (id) => document.getElementById(id)
const every = 3000 // ms between updates of a table
const pause = 100 // ms between redraws of new records
const slice = 8 // ms of work at a time
const looked = 200 // records whose keys are offered as columns

const defaults = {view: 'live', topic: '*', from: '10m', to: '', find: '', columns: '', open: ''}
const rejected = {view: 'live', topic: '_rejected', from: '24h', to: '', find: '', columns: 'code,reason,error,topic,producer,bytes', open: ''}
let state = {}
let feed = null
let match = null
let refused = '' // why the jq expression can't be used
let searched = 0 // rows of the feed that were searched, of all that it ever had
let searching = false
let table = 0 // a timer

const list = new List($('list'), {open: (row) => go({open: `${row.field('topic')}@${row.field('position')}`}), changed: tell, fit})
const rate = new Rate($('rate'), (from, to) => go({from: from.toISOString(), to: to.toISOString()}))

// go changes the address, and shows its view.
function go(change, replace = false) {
	history[replace ? 'replaceState' : 'pushState'](null, '', address(change))
	follow()
}

// address returns the current address with a change.
function address(change) {
	const entries = Object.entries({...state, ...change})
	return '#' + new URLSearchParams(entries.filter(([name, value]) => value !== defaults[name]))
}

// follow shows the view of the address.
function follow() {
	const before = state
	state = {...defaults, ...Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].filter(([name]) => name in defaults))}
	const live = state.view === 'live', isRejected = live && state.topic === rejected.topic
	for (const a of document.querySelectorAll('nav a')) {
		const {view} = a.dataset
		if (view === 'rejected') a.href = address(rejected)
		else if (view === 'live' && isRejected) a.href = address(defaults)
		else a.href = address({view, open: ''})
		a.ariaCurrent = view === (isRejected ? 'rejected' : state.view) ? 'page' : null
	}
	$('live').hidden = !live
	$('send').hidden = state.view !== 'send'
	$('table').hidden = !isTable(state.view)
	if (live) {
		$('topic').value = state.topic === '*' ? '' : state.topic
		$('find').value = state.find
		if (![...$('from').options].some((o) => o.value === state.from)) $('from').add(new Option(localTime(state.from) || state.from, state.from))
		$('from').value = state.from
		$('until').hidden = state.to === ''
		$('until').textContent = `until ${localTime(state.to) || state.to} ✕`
		if (before.columns !== state.columns) heads()
		const filter = split(state.find).expression
		if (!feed || before.topic !== state.topic || before.from !== state.from || before.to !== state.to || feed.filter !== filter) start()
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

// start starts a new feed.
function start() {
	feed?.close()
	refused = ''
	searched = 0
	let mine = null
	feed = mine = new Feed({
		topic: state.topic, from: state.from, to: state.to, filter: split(state.find).expression,
		refuse: (why) => {
			if (mine !== feed) return
			refused = why
			tell()
		},
		say: (...what) => (mine === null || mine === feed) && say(...what), changed: () => mine === feed && arrived(),
		mayDrop: (seq) => !list.looksAt(seq),
	})
	search()
}

// search searches all rows again.
function search() {
	match = matcher(split(state.find).terms)
	searched = feed.dropped
	list.show([])
	rate.clear()
	arrived()
	tell()
}

// arrived shows the matching new rows, one slice of time after another.
function arrived() {
	for (const row of list.drop(feed.dropped)) rate.count(row, -1)
	compare()
}

let drawing = 0 // a timer
let drawn = 0

// soon redraws the list a few times per second, since nobody reads faster.
function soon() {
	drawing ||= setTimeout(() => {
		drawing = 0
		drawn = performance.now()
		list.draw()
		rate.draw()
		tell()
	}, Math.max(0, drawn + pause - performance.now()))
}

function compare() {
	if (searching) return
	const until = performance.now() + slice
	for (searched = Math.max(searched, feed.dropped); searched < feed.dropped + feed.rows.length; searched++) {
		if (performance.now() > until) {
			searching = true
			setTimeout(() => {
				searching = false
				compare()
			})
			break
		}
		const row = feed.rows[searched - feed.dropped]
		if (match && !match(row)) continue
		list.rows.push(row)
		rate.count(row, 1)
	}
	soon()
}

// tell updates the counts and messages.
function tell() {
	const fresh = list.fresh
	$('new').hidden = fresh === 0
	$('new').textContent = `${number(fresh)} new ↓`
	$('pause').ariaPressed = String(list.paused)
	$('pause').textContent = list.paused ? 'Paused' : 'Pause'
	const rows = feed?.rows.length ?? 0
	$('count').textContent = match ? `${number(list.rows.length)} of ${number(rows)}${searching ? ' …' : ''}` : `${number(rows)} record${rows === 1 ? '' : 's'}`
	const why = refused || feed?.failed && `jq fails for ${number(feed.failed)} record${feed.failed === 1 ? '' : 's'}: ${feed.why}`
	$('wrong').hidden = !why
	if ($('wrong').textContent !== (why || '')) $('wrong').textContent = why || ''
	$('wrong').className = refused ? 'bad' : ''
	$('find').ariaInvalid = String(refused !== '')
	if (!list.paused) feed?.resume()
}

// heads shows the column heads, each with a button that removes it.
function heads() {
	const paths = pathsOf(state.columns)
	$('heads').hidden = paths.length === 0
	$('heads').replaceChildren(element('span', 'time', 'time'), element('span', 'topic', 'topic'), ...paths.map((path) => {
		const b = element('button', 'pick', '✕')
		b.type = 'button'
		b.title = b.ariaLabel = `take the column ${path} away`
		b.addEventListener('click', () => toggle(path))
		return element('span', 'cell', element('bdi', '', path), b)
	}))
	$('list').classList.toggle('cells', paths.length > 0)
	list.columns = paths
}

// fit sizes the columns: short ones get the room that they need, long ones and the last one
// share the rest.
function fit(widths) {
	const room = (w, i) => w > 20 || i === widths.length - 1 ? `${Math.min(Math.max(w, 10), 60)}fr` : `${w + 1}ch`
	$('live').style.setProperty('--columns', widths.map((w, i) => `minmax(${i === widths.length - 1 ? '6ch' : 0}, ${room(w, i)})`).join(' '))
}

// toggle adds or removes a column.
function toggle(path) {
	const paths = pathsOf(state.columns)
	go({columns: (paths.includes(path) ? paths.filter((p) => p !== path) : [...paths, path]).join(',')})
}

// offer lists the keys of the newest records as columns.
function offer() {
	const paths = new Set(pathsOf(state.columns))
	for (const row of list.rows.slice(-looked)) {
		for (const [key] of row.some(4096).entries) if (key.kind === 'str' && paths.size < 100) paths.add(pathTo([key.text]))
	}
	$('columns').replaceChildren(...[...paths].map((path) => {
		const box = element('input', '')
		box.type = 'checkbox'
		box.checked = pathsOf(state.columns).includes(path)
		box.addEventListener('change', () => toggle(path))
		return element('label', '', box, element('bdi', '', pathOf(path).join('.')))
	}))
	if (paths.size === 0) $('columns').replaceChildren('No records, no keys.')
}

// open shows the record in the address.
async function open() {
	const wanted = state.open, at = wanted.lastIndexOf('@')
	if (!wanted) {
		$('record').hidden = true
		$('record').replaceChildren()
		return
	}
	const by = {close: () => go({open: ''}), look: (term) => go({find: join(split(state.find), term)}), column: toggle}
	try {
		const is = (row) => row.field('position') === wanted.slice(at + 1) && row.field('topic') === wanted.slice(0, at)
		const row = list.selected && is(list.selected) ? list.selected : await one(wanted.slice(0, at), wanted.slice(at + 1))
		if (state.open === wanted) showRecord($('record'), row, by)
	} catch (err) {
		if (state.open !== wanted) return
		$('record').replaceChildren(err.message)
		$('record').hidden = false
	}
}

// look shows a table, and refreshes it regularly.
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
	const far = split($('find').value).expression !== split(state.find).expression // the server must read again
	typed = setTimeout(() => go({find: $('find').value}, true), far ? 800 : 200)
})
$('find').addEventListener('change', () => {
	clearTimeout(typed)
	if ($('find').value !== state.find) go({find: $('find').value}, true)
})
$('pause').addEventListener('click', () => list.pause(!list.paused))
$('new').addEventListener('click', () => list.pause(false))
$('until').addEventListener('click', () => go({from: defaults.from, to: ''}))
$('range').addEventListener('submit', (event) => {
	event.preventDefault()
	const [from, to] = ['range-from', 'range-to'].map((id) => $(id).value && new Date($(id).value).toISOString())
	go({from: from || 'earliest', to})
})
for (const menu of document.querySelectorAll('details.menu')) {
	menu.addEventListener('toggle', () => menu.open && menu.contains($('columns')) && offer())
}
document.addEventListener('click', (event) => {
	for (const menu of document.querySelectorAll('details.menu[open]')) if (!menu.contains(event.target)) menu.open = false
})
for (const b of document.querySelectorAll('[data-save]')) {
	b.addEventListener('click', async () => {
		try {
			const {topic, filter, rows} = feed
			await save(b.dataset.save, {topic, filter, all: [...rows], shown: [...list.rows], columns: [...new Set(pathsOf(state.columns).map((p) => pathOf(p)[0]))], say})
		} catch (err) {
			say(err.message, true)
		}
	})
}
$('keys').addEventListener('click', () => $('help').showModal())
$('logout').addEventListener('click', async () => {
	try {
		await logOut()
		location.reload()
	} catch (err) {
		say(err.message, true)
	}
})
async function who() {
	const {principal} = await ask('/v1/status').catch(() => ({principal: 'anonymous'}))
	$('logout').hidden = principal === 'anonymous'
	$('logout').title = principal
}
addEventListener('login', who)
who()

document.addEventListener('keydown', (event) => {
	if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return
	const menu = document.querySelector('details.menu[open]')
	if (event.key === 'Escape' && menu) {
		menu.open = false
		menu.firstElementChild.focus()
		return
	}
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
startTheme($('theme'))
follow()
