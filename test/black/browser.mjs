// EventSource and fetch in Chromium, from a page of another origin: browser.mjs URL READER WRITER
//
// Posts 1 to 3, waits until its stream has ended (the reader's token has a short session),
// posts 4 to 6, and prints what the EventSource got, over its own reconnect, as JSON.
import { chromium } from 'playwright-core';

const [url, reader, writer] = process.argv.slice(2);
const browser = await chromium.launch({
	executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
	args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
		'--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
	const page = await browser.newPage();
	const got = await page.evaluate(async ([url, reader, writer]) => {
		const source = new EventSource(`${url}?t=${reader}`), events = [], status = [];
		const next = name => new Promise(done => source.addEventListener(name, done, { once: true }));
		const seen = n => new Promise(done => {
			const look = () => events.length >= n && done();
			source.addEventListener('message', look);
			look();
		});
		const post = async body => status.push((await fetch(url,
			{ method: 'POST', body, headers: { Authorization: `Bearer ${writer}` } })).status);
		source.addEventListener('message', e => events.push([e.lastEventId, e.data]));
		await next('open');
		for (const body of ['1', 'two\nlines', ''])
			await post(body);
		await seen(3);
		await next('error');
		for (const body of ['4', '5', '6'])
			await post(body);
		await seen(6);
		const refused = await (await fetch(url, { method: 'POST', body: 'x' })).text();
		source.close();
		return { events, status, refused };
	}, [url, reader, writer]);
	console.log(JSON.stringify(got));
} finally {
	await browser.close();
}
