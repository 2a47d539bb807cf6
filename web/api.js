// Requests to the page's own server.

let asked = null // a promise while a token is being requested
let logins = 0

// A Problem is an error of the server (RFC 9457).
export class Problem extends Error {
	constructor(status, about, text) {
		super(about?.detail ?? about?.error ?? text ?? `status ${status}`)
		this.status = status
		this.code = about?.code
	}
}

const send = (path, options) => fetch(path, {...options, cache: 'no-store', credentials: 'same-origin', redirect: 'error'})

// request returns the answer, whatever its status. If the server requires a token, it logs
// in first and tries again.
export async function request(path, options) {
	for (;;) {
		const before = logins
		const answer = await send(path, options)
		if (answer.status !== 401) return answer
		const why = await problemOf(answer)
		if (logins === before) await (asked ??= logIn(why)) // otherwise another request has logged in meanwhile
	}
}

// get returns a successful answer, or throws a Problem.
export async function get(path, options) {
	const answer = await request(path, options)
	if (!answer.ok) throw await problemOf(answer)
	return answer
}

// problemOf returns the problem in an answer.
export async function problemOf(answer) {
	const text = await answer.text()
	try {
		return new Problem(answer.status, JSON.parse(text))
	} catch {
		return new Problem(answer.status, null, text)
	}
}

// list returns an answer in JSON. Numbers that a float can't represent become strings of
// digits.
export async function list(path) {
	const text = await (await get(path)).text()
	return JSON.parse(text, (_, v, context) => typeof v === 'number' && !Number.isSafeInteger(v) ? context?.source ?? v : v)
}

// logIn asks for a token, once for all waiting requests, until the server accepts it. The
// token is not kept: a cookie that no script can read stands for it.
async function logIn(why) {
	const dialog = document.getElementById('login'), input = document.getElementById('token')
	for (let wrong = why; wrong;) {
		document.getElementById('why').textContent = wrong.message
		const token = await new Promise((resolve) => {
			dialog.onclose = () => {
				resolve(input.value.trim())
				input.value = ''
			}
			dialog.oncancel = (event) => event.preventDefault()
			if (!dialog.open) dialog.showModal()
		})
		wrong = await send('/v1/login', {method: 'POST', headers: {Authorization: `Bearer ${token}`}})
			.then((answer) => answer.ok ? null : problemOf(answer), (err) => err)
	}
	asked = null
	logins++
	dispatchEvent(new Event('login'))
}

export async function logOut() {
	const answer = await send('/v1/logout', {method: 'POST'})
	if (!answer.ok) throw await problemOf(answer)
}

export const topicPath = (topic, query) => `/v1/topics/${encodeURIComponent(topic)}?${new URLSearchParams(query)}`
