// Requests to the server that the page comes from.

const key = 'dictwire-token'
let token = sessionStorage.getItem(key) ?? ''
let asked = null // a promise, while a token is asked for

export const hasToken = () => token !== ''

export function forgetToken() {
	token = ''
	sessionStorage.removeItem(key)
}

// A Problem is what the server says is wrong (RFC 9457).
export class Problem extends Error {
	constructor(status, about, text) {
		super(about?.detail ?? about?.error ?? text ?? `status ${status}`)
		this.status = status
		this.code = about?.code
	}
}

// request returns an answer, whatever its status. Where the server wants a token, it
// asks for one, and tries again.
export async function request(path, options = {}) {
	for (;;) {
		const used = token
		const headers = {...options.headers}
		if (used) headers.Authorization = `Bearer ${used}`
		const answer = await fetch(path, {...options, headers, cache: 'no-store', credentials: 'omit', redirect: 'error'})
		if (answer.status !== 401) return answer
		const p = await problemOf(answer)
		if (used === token) await ask(p.message)
	}
}

// get returns an answer that is well, or throws a Problem.
export async function get(path, options) {
	const answer = await request(path, options)
	if (!answer.ok) throw await problemOf(answer)
	return answer
}

// problemOf returns what an answer says is wrong.
export async function problemOf(answer) {
	const text = await answer.text()
	try {
		return new Problem(answer.status, JSON.parse(text))
	} catch {
		return new Problem(answer.status, null, text)
	}
}

// list returns an answer in JSON. A number that a float can't hold is its digits.
export async function list(path) {
	const text = await (await get(path)).text()
	return JSON.parse(text, (_, v, context) => typeof v === 'number' && !Number.isSafeInteger(v) ? context?.source ?? v : v)
}

// ask asks for a token, once for all who want one.
function ask(why) {
	asked ??= new Promise((resolve) => {
		const dialog = document.getElementById('login'), input = document.getElementById('token')
		document.getElementById('why').textContent = why
		input.value = ''
		dialog.onclose = () => {
			asked = null
			token = input.value.trim()
			input.value = ''
			if (token) sessionStorage.setItem(key, token)
			document.getElementById('forget').hidden = !token
			resolve()
		}
		dialog.oncancel = (event) => event.preventDefault()
		dialog.showModal()
	})
	return asked
}

export const topicPath = (topic, query) => `/v1/topics/${encodeURIComponent(topic)}?${new URLSearchParams(query)}`
