// A form that sends a dictionary.

import {request} from './api.js'

// startSending makes the form send its text unchanged.
export function startSending(form) {
	const [topic, format, text] = ['topic', 'format', 'text'].map((name) => document.getElementById('send-' + name))
	const sent = document.getElementById('sent')
	form.addEventListener('submit', async (event) => {
		event.preventDefault()
		sent.className = ''
		sent.textContent = 'sending…'
		try {
			const answer = await request(`/v1/topics/${encodeURIComponent(topic.value.trim() || 'default')}`, {
				method: 'POST', body: text.value, headers: {'Content-Type': format.value},
			})
			const said = (await answer.text()).trim()
			sent.className = answer.ok ? 'good' : 'bad'
			sent.textContent = `${answer.ok ? 'acknowledged' : 'rejected'} (${answer.status}): ${said}`
		} catch (err) {
			sent.className = 'bad'
			sent.textContent = `not sent, or not told so: ${err.message}`
		}
	})
	text.addEventListener('keydown', (event) => {
		if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
	})
}
