// The built-in page in a real browser, against the real server.
//
//     SLUICE=./sluice node test/black/page/page_test.mjs
//
// SHOTS names a directory for screenshots, CHROMIUM another browser. Nothing here
// waits for time to pass: where the page would, its clock is ours.

import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import { once, EventEmitter } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const SLUICE = path.resolve(process.env.SLUICE || 'sluice');
const DIR = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-page-'));
const SHOTS = process.env.SHOTS || path.join(DIR, 'shots');
const SECRET = path.join(DIR, 'secret');
const KEY = 'an example secret of enough bytes, 0123456789';
const HOUR = 3600e3;
const MANY = ['--secret-file', SECRET, '--token-use', 'many'];
const STREAM = ['/', '/a', '/b', '/c/*'];	/* what tokens grant here */

let browser;

before(async () => {
	fs.writeFileSync(SECRET, KEY, { mode: 0o600 });
	fs.mkdirSync(SHOTS, { recursive: true });
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
		args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--disable-sync'],
	});
});

after(async () => {
	await browser?.close();
	fs.rmSync(DIR, { recursive: true });
});

function token(ttl = 60, claims = {}, key = KEY) {
	const part = o => Buffer.from(JSON.stringify(o)).toString('base64url'), now = Math.floor(Date.now() / 1000);
	const text = part({ alg: 'HS256' }) + '.' + part({ iat: now, exp: now + ttl, jti: crypto.randomUUID(),
		permissions: { sub: STREAM }, ...claims });
	return text + '.' + crypto.createHmac('sha256', key).update(text).digest('base64url');
}

/* When this returns, the message is in the server's ring. */
async function publish(server, subject, data) {
	const r = await fetch(`http://127.0.0.1:${server.port}${subject}`, { method: 'POST', body: data,
		headers: { Authorization: 'Bearer ' + token(60, { permissions: { pub: ['/', '/*'] } }) } });
	assert.equal(r.status, 204);
}

/* What a test has begun is ended in reverse, so that pages go before their servers. */
const begun = new WeakMap();

function atEnd(t, end) {
	if (!begun.has(t)) {
		const ends = [];
		begun.set(t, ends);
		t.after(async () => {
			const done = [];
			while (ends.length)
				done.push(...await Promise.allSettled([ends.pop()()]));
			for (const { reason } of done.filter(d => d.status === 'rejected'))
				throw reason;
		});
	}
	begun.get(t).push(end);
}

async function serve(t, args = ['--secret-file', SECRET], port = 0) {
	const child = spawn(SLUICE, ['--page', '--listen', `127.0.0.1:${port}`, ...args],
		{ stdio: ['pipe', 'ignore', 'pipe'] });
	const lines = [], seen = new EventEmitter();
	readline.createInterface({ input: child.stderr })
		.on('line', line => { lines.push(line); seen.emit('line'); })
		.on('close', () => seen.emit('line', 'end'));
	child.stdin.on('error', () => {});
	const gone = once(child, 'exit');
	const server = {
		lines,
		write: text => child.stdin.write(text),
		signal: name => child.kill(name),
		stop: async () => { child.kill('SIGTERM'); return (await gone)[0]; },
		log: async pattern => {
			for (;;) {
				const hit = lines.map(l => pattern.exec(l)).find(Boolean);
				if (hit)
					return hit;
				const [end] = await once(seen, 'line');
				assert.ok(!end, `no line like ${pattern} in:\n${lines.join('\n')}`);
			}
		},
	};
	atEnd(t, async () => { if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL'); });
	server.port = +(await server.log(/event=listening addr=127\.0\.0\.1:(\d+)/))[1];
	return server;
}

/* A line to the server that can be cut, or takes calls and stays silent. */
async function line(t, server) {
	const sockets = new Set(), heads = [];
	const self = { heads, silent: false, cut: () => sockets.forEach(s => s.destroy()) };
	const listener = net.createServer(near => {
		const far = self.silent ? null : net.connect(server.port, '127.0.0.1');
		for (const [s, other] of [[near, far], [far, near]])
			s?.on('error', () => {}).on('close', () => { sockets.delete(s); other?.destroy(); });
		for (const s of far ? [near, far] : [near])
			sockets.add(s);
		near.once('data', head => heads.push(String(head)));
		far?.pipe(near).pipe(far);
	}).listen(0, '127.0.0.1');
	await once(listener, 'listening');
	atEnd(t, async () => { listener.close(); self.cut(); });
	self.port = listener.address().port;
	return self;
}

/* What renews links, at another origin: answers with what answer() returns, [status, text]. */
async function renewer(t, answer) {
	const self = { asked: [], answer };
	const server = http.createServer((q, r) => {
		self.asked.push(q);
		const [status, text] = self.answer();
		r.writeHead(status, { 'Access-Control-Allow-Credentials': 'true',
			...q.headers.origin && { 'Access-Control-Allow-Origin': q.headers.origin } });
		r.end(text);
	}).listen(0, '127.0.0.1');
	await once(server, 'listening');
	self.stop = async () => { server.close(); server.closeAllConnections(); };
	atEnd(t, self.stop);
	self.url = `http://127.0.0.1:${server.address().port}/token?for=me`;
	self.hash = '&renew=' + encodeURIComponent(self.url);
	return self;
}

/* A page of its own; what it asked for, said and broke is judged at the end. */
async function open(t, port, hash = '', { refusals = false, clock, route, renew, ...context } = {}) {
	const ctx = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...context });
	const page = await ctx.newPage();
	const said = [], asked = [];
	page.sockets = [];
	page.on('console', m => said.push(`${m.type()}: ${m.text()}`));
	page.on('pageerror', e => said.push(`pageerror: ${e}`));
	page.on('request', r => asked.push(r.url().split('#')[0]));
	page.on('websocket', s => page.sockets.push(s.url()));
	if (clock)
		await page.clock.install({ time: clock });
	if (route)
		await page.routeWebSocket(/./, route);
	atEnd(t, async () => {
		await ctx.close();
		/* A browser reports a refused handshake or a dead server itself. */
		const own = refusals ? said.filter(l => !/WebSocket connection to|Failed to load resource/.test(l)) : said;
		assert.deepEqual(own, [], 'nothing on the console');
		for (const url of asked)
			assert.ok(url === `http://127.0.0.1:${port}/` || url === renew, `no request elsewhere: ${url}`);
		for (const url of page.sockets)
			assert.equal(url, `ws://127.0.0.1:${port}/`, 'no token in an address');
	});
	await page.goto(`http://127.0.0.1:${port}/${hash}`);
	return page;
}

const state = (page, name) => page.waitForFunction(
	n => document.documentElement.dataset.state === n, name);
const shows = (page, id, text) => page.waitForFunction(
	([i, s]) => document.getElementById(i).innerText.includes(s), [id, text]);
const text = (page, id) => page.locator('#' + id).innerText();
const rows = page => page.locator('#log > div').allInnerTexts();
const said = async page => (await rows(page)).map(l => l.replace(/^\d\d:\d\d:\d\d\.\d\d\d\xa0\xa0/, ''));
const saying = (page, list) => page.waitForFunction(want => want === JSON.stringify(
	[...document.querySelectorAll('#log > div')].map(e => e.textContent.slice(14))), JSON.stringify(list));
const values = page => page.evaluate(() => Object.fromEntries(
	[...document.querySelectorAll('#lines li')].map(li => [li.querySelector('.name').textContent,
		[...li.querySelectorAll('.now, .range span')].map(e => e.textContent)])));

test('connected: messages, numbers, hostile text', async t => {
	const s = await serve(t), tok = token();
	const page = await open(t, s.port, '#t=' + tok);
	await state(page, 'connected');
	assert.equal(await text(page, 'word'), 'Connected');
	assert.match(await page.title(), /^Connected/);
	const hostile = '<img src=x onerror="document.title=`bad`"><script>document.title="bad"</script>';
	s.write('{"cpu":{"load":0.5},"disk":[71.4,-12]}\n' +
		'{"cpu":{"load":0.25},"disk":[71.4,1234567],"ok":true,"s":"7","n":null,"big":1e999}\n' +
		`${hostile}\n{"<b>name</b>":1}\n{not json\n\n23.5\nplain\n`);
	await shows(page, 'count', '8');
	const got = await said(page);
	assert.deepEqual(got.slice(2), [hostile, '{"<b>name</b>":1}', '{not json', ' (0 characters)', '23.5', 'plain']);
	assert.deepEqual(await values(page), {
		'cpu.load': ['0.25', '0.5', '0.25'],
		'disk.0': ['71.4', '71.4', '71.4'],
		'disk.1': ['1\u202f234\u202f567', '1\u202f234\u202f567', '-12'],
		'<b>name</b>': ['1', '1', '1'],
		value: ['23.5', '23.5', '23.5'],
	});
	assert.equal(await page.locator('main img, main script, main b:not(.now)').count(), 0);
	assert.match(await page.title(), /^Connected/);
	for (const path of await page.locator('#lines path').all())
		assert.doesNotMatch(await path.getAttribute('d'), /NaN|Infinity|undefined/);
	assert.ok(!s.lines.join('\n').includes(tok.split('.')[2]), 'the token reaches no log');
	assert.equal(await text(page, 'names'), '/');
});

test('binary messages are shown as text', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--binary']);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	s.write(Buffer.from('A\xff"\n', 'latin1'));
	await saying(page, ['A\ufffd"']);
});

/* ---- several subjects ---- */

test('several subjects: each message says which, numbers are kept apart', async t => {
	const s = await serve(t);
	const page = await open(t, s.port, `#t=${token()}&s=/a,%2Fb,/a,/c/+`);
	await state(page, 'connected');
	assert.equal(await text(page, 'names'), '/a /b /c/+');
	await publish(s, '/a', '{"x":1,"y":7}');
	await publish(s, '/b', '{"x":2}');
	await publish(s, '/c/d%20e', '<i>three</i>');
	await publish(s, '/c/d/e', 'not of +');
	await publish(s, '/', 'nor this');
	await publish(s, '/a', '4');
	await saying(page, ['/a\xa0\xa0{"x":1,"y":7}', '/b\xa0\xa0{"x":2}', '/c/d e\xa0\xa0<i>three</i>', '/a\xa0\xa04']);
	assert.deepEqual(await values(page), { '/a x': ['1', '1', '1'], '/a y': ['7', '7', '7'],
		'/b x': ['2', '2', '2'], '/a value': ['4', '4', '4'] });
	assert.equal(await text(page, 'count'), '4');
});

test('one subject that is not /, one pattern, names that were escaped', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--replay', '5']), grant = { permissions: { sub: ['/*'] } };
	for (const [hash, path, name, shown] of [
		['/c/\u00e9', '/c/%C3%A9', '/c/\u00e9', 'hi'],
		['%2Fc%2F%C3%A9%25', '/c/%C3%A9%25', '/c/\u00e9%', 'hi'],
		['/c/50%', '/c/50%25', '/c/50%', 'hi'],
		['/c/a%2Cb', '/c/a,b', '/c/a,b', 'hi'],
		['/c/%2B', '/c/1', '/c/+', '/c/1\xa0\xa0hi'],
		['/c/*', '/c/2', '/c/*', '/c/2\xa0\xa0hi'],
	]) {
		const page = await open(t, s.port, `#s=${hash}&t=${token(60, grant)}`);
		await state(page, 'connected');
		assert.equal(await text(page, 'names'), name);
		await publish(s, path, 'hi');
		await page.waitForFunction(s => document.querySelector('#log').lastChild?.textContent.slice(14) === s, shown);
	}
});

test('a subject denied among allowed ones', async t => {
	const s = await serve(t);
	const page = await open(t, s.port, `#t=${token()}&s=/a,/secret,no,/b`);
	await shows(page, 'why', 'Without /secret (not granted), no (bad_request).');
	assert.equal(await text(page, 'word'), 'Connected');
	await s.log(/event=reject .*reason=subject_denied subject=\/secret/);
	await publish(s, '/b', 'goes on');
	await saying(page, ['/b\xa0\xa0goes on']);
	const none = await open(t, s.port, `#t=${token()}&s=/secret,/too`);
	await state(none, 'refused');
	assert.equal(await text(none, 'why'), 'This link does not open /secret (not granted), /too (not granted). Ask for a new link.');
	const full = await open(t, s.port, `#t=${token()}&s=/a,/b`, { route: socket => {
		socket.onMessage(m => {
			const { op, id } = JSON.parse(m);
			socket.send(JSON.stringify(op === 'auth' ? { op: 'ready', expires: null } :
				id ? { op: 'error', id, reason: 'too_many_subscriptions' } : { op: 'ok', id }));
		});
	} });
	await shows(full, 'why', 'Without /b (too_many_subscriptions).');
	assert.equal(await text(full, 'word'), 'Connected');
});

/* ---- refusals ---- */

test('a used token: refused, in words, once', async t => {
	const s = await serve(t), hash = '#t=' + token();
	await state(await open(t, s.port, hash), 'connected');
	const page = await open(t, s.port, hash, { clock: Date.now() - HOUR });
	await state(page, 'refused');
	assert.equal(await text(page, 'word'), 'Refused');
	assert.match(await text(page, 'why'), /^This link has been used: .*Ask for a new link\.$/);
	await s.log(/event=reject .*reason=token_used/);
	await page.clock.fastForward('10:00');
	assert.equal(page.sockets.length, 1, 'it does not try again by itself');
	await Promise.all([page.waitForEvent('websocket'), page.locator('#again').click()]);
	await state(page, 'refused');
	assert.equal(page.sockets.length, 2, 'it does when told to');
	await page.evaluate(t => { location.hash = 't=' + t; }, token());
	await state(page, 'connected');
	assert.ok(await page.locator('#again').isHidden());
});

test('what the server says of a token, in words', async t => {
	const s = await serve(t), now = Math.floor(Date.now() / 1000);
	for (const [hash, reason, why] of [
		['', 'token_missing', /^This link has no token\. Open the whole link, with what follows #t=\.$/],
		['#t=' + token().split('.')[0], 'token_malformed', /^This link was cut, .* Ask for a new link\.$/],
		['#t=' + token(-HOUR), 'token_expired', /^The token in this link has expired\. Ask for a new link\.$/],
		['#t=' + token(60, {}, 'another'), 'signature_invalid', /was made for another server/],
		['#t=' + token(60, { iat: now - 100 }), 'issued_before_start', /older than the server's last start/],
		['#t=' + token(60, { nbf: now + 900 }), 'token_not_yet_valid', /^The server does not let this page in \(token_not_yet_valid\)\. Ask/],
	]) {
		const page = await open(t, s.port, hash);
		await state(page, 'refused');
		assert.equal(await text(page, 'word'), 'Refused');
		assert.match(await text(page, 'why'), why);
		await s.log(RegExp(`event=reject .*reason=${reason}`));
		assert.equal(page.sockets.length, 1);
	}
});

test('an origin that is denied; no room, until there is', async t => {
	const denies = await serve(t, ['--secret-file', SECRET, '--origin', 'https://example.org']);
	const page = await open(t, denies.port, '#t=' + token());
	await state(page, 'refused');
	assert.equal(await text(page, 'why'), 'The server does not let this page in (origin_denied).');
	const s = await serve(t, ['--secret-file', SECRET, '--max-clients', '1']);
	const first = await open(t, s.port, '#t=' + token());
	await state(first, 'connected');
	const next = await open(t, s.port, '#t=' + token(), { clock: Date.now() - HOUR, refusals: true });
	await shows(next, 'word', 'Reconnecting');	// the 503 is hidden from a page
	await s.log(/event=reject .*reason=too_many_clients/);
	await first.close();
	await s.log(/event=close/);
	await tryUntil(next, 'connected');
});

test('without authentication, with a token or without', async t => {
	const s = await serve(t, ['--no-auth']);
	for (const hash of ['', '#t=' + token(), '#t=nonsense', '#s=/']) {
		const page = await open(t, s.port, hash);
		await state(page, 'connected');
		s.write('hello\n');
		await saying(page, ['hello']);
	}
});

test('a token that expires meanwhile', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--enforce-expiry']);
	const page = await open(t, s.port);
	await state(page, 'refused');
	await page.evaluate(t => { location.hash = 't=' + t; }, token(8));
	await shows(page, 'why', 'It ends at ');
	assert.equal(await text(page, 'word'), 'Connected');
	await shows(page, 'word', 'Closed');
	assert.equal(await text(page, 'why'), 'The token in this link has expired. Ask for a new link.');
	assert.equal(page.sockets.length, 2);
});

test('a key that is taken away', async t => {
	const secret = path.join(DIR, 'other');
	fs.writeFileSync(secret, KEY, { mode: 0o600 });
	const s = await serve(t, ['--secret-file', secret]);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	fs.writeFileSync(secret, KEY + KEY);
	s.signal('SIGHUP');
	await shows(page, 'word', 'Closed');
	assert.equal(await text(page, 'why'), 'The server does not know the key of this link, or no longer. Ask for a new link.');
});

test('every other end, in words', async t => {
	const s = await serve(t);
	for (const [code, reason, word, why, early] of [
		[1013, 'too_slow', 'Reconnecting', /^This page fell too far behind the stream\.$/],
		[1001, 'shutdown', 'Reconnecting', /^The server was shut down\.$/],
		[1008, 'policy', 'Closed', /^The server ended the connection \(policy\)\.$/],
		[1009, '', 'Closed', /\(1009\)\.$/],
		[4401, 'session_ended', 'Closed', /^The time that this link allows is over\. Ask for a new link\.$/],
		[1000, '<b>', 'Reconnecting', /\(<b>\)/],
		[1013, 'clock_unset', 'Reconnecting', /^The server does not let this page in \(clock_unset\)\.$/, true],
		[1013, 'ring_full', 'Reconnecting', /\(ring_full\)\.$/, true],
		[4401, 'handshake_timeout', 'Reconnecting', /\(handshake_timeout\)\.$/, true],
		[4401, 'ttl_too_long', 'Refused', /\(ttl_too_long\)\. Ask for a new link\.$/, true],
	]) {
		let end;
		const page = await open(t, s.port, '#t=' + token(), {
			clock: Date.now() - HOUR,
			route: socket => {
				end = () => socket.close({ code, reason });
				if (early)
					end();
				else
					socket.send('{"op":"ready","expires":null}');
			},
		});
		if (!early) {		/* before that, the clock's leap would be a server that does not answer */
			await state(page, 'connected');
			await page.clock.pauseAt(Date.now() - HOUR / 2);
			await end();
		}
		await shows(page, 'word', word);
		assert.match(await text(page, 'why'), why);
	}
});

/* The page's clock stands an hour back and is stopped, so that each delay can be read. */
async function stopped(t, s, hash = '', more = {}) {
	const page = await open(t, s.port, '#t=' + token() + hash, { refusals: true, clock: Date.now() - HOUR, ...more });
	await state(page, 'connected');
	await page.clock.pauseAt(Date.now() - HOUR / 2);
	return page;
}

const delay = async page => {
	await shows(page, 'next', 'Next try in');
	return +/in (\d+) s/.exec(await text(page, 'next'))[1];
};

/* On to that state, by as many tries as it takes: one may fail on a busy machine. */
async function tryUntil(page, name) {
	for (let n = 0; n < 10; n++) {
		const next = await page.waitForFunction(want => document.documentElement.dataset.state === want ||
			/in (\d+) s/.exec(document.getElementById('next').textContent)?.[1], name);
		const seconds = await next.jsonValue();
		if (seconds === true)
			return;
		await page.clock.fastForward(1000 * seconds);
	}
	assert.fail(`not ${name} after 10 tries`);
}

async function tryNow(page) {
	const tries = page.waitForEvent('websocket');
	await page.clock.fastForward(1000 * await delay(page));
	await tries;
}

test('a shutdown: growing delays, then refused when the token was for one connection', async t => {
	const args = ['--secret-file', SECRET, '--used-tokens-file', path.join(DIR, 'used')];
	const s = await serve(t, args), page = await stopped(t, s);
	assert.equal(await s.stop(), 0);
	await state(page, 'reconnecting');
	assert.match(await text(page, 'why'), /shut down/);
	for (let n = 0; n < 8; n++) {
		const wait = await delay(page), most = Math.min(30, 2 ** n);
		assert.ok(wait >= most / 2 && wait <= most, `try ${n} after ${wait} s`);
		await tryNow(page);
		await shows(page, 'why', 'does not answer');
	}
	const again = await serve(t, args, s.port);
	await tryUntil(page, 'refused');
	assert.match(await text(page, 'why'), /^The server was shut down\. This link has been used: .*new link\.$/);
	await again.log(/event=reject .*reason=token_used/);
	const tries = page.sockets.length;
	await page.clock.fastForward('10:00');
	assert.equal(page.sockets.length, tries);
});

test('a shutdown: back by itself when the token is for many, and told what may be missing', async t => {
	const s = await serve(t, [...MANY, '--replay', '9']), page = await stopped(t, s, '&s=/,/a');
	await publish(s, '/', 'one');
	await publish(s, '/', 'two');
	await page.waitForFunction(() => count === 2);
	assert.equal(await s.stop(), 0);
	await state(page, 'reconnecting');
	await tryNow(page);
	const again = await serve(t, MANY, s.port);
	await publish(again, '/', 'three');
	await publish(again, '/', 'four');
	await tryUntil(page, 'connected');
	await page.waitForFunction(() => count === 4);
	await page.clock.resume();
	await saying(page, ['one', 'two', 'Messages may be missing here.', 'three', 'four'].map(l => '/\xa0\xa0' + l));
});

test('a line that is cut: nothing is lost, nothing comes twice, the token stands in no head', async t => {
	const s = await serve(t, [...MANY, '--replay', '3']), cable = await line(t, s);
	const page = await stopped(t, cable, '&s=/a,/b,/c/*'), want = [];
	const send = async (subject, data) => {
		await publish(s, subject, data);
		want.push(`${subject}\xa0\xa0${data}`);
	};
	const came = () => page.waitForFunction(n => count === n, want.length);
	await send('/a', '1');
	await send('/c/x', 'seen');
	await came();
	for (let n = 2; n < 8; n += 3) {
		await send('/a', String(n));
		if (n > 4)
			await send('/b', 'live');
		await came();
		cable.cut();
		await state(page, 'reconnecting');
		assert.equal(await text(page, 'why'), 'The connection was lost.');
		await send('/a', String(n + 1));
		await send('/a', String(n + 2));
		if (n < 4)
			await send('/b', 'the first of its subject');
		await publish(s, '/c/x', 'a pattern has no ID to go on from');
		await tryUntil(page, 'connected');
		await came();
		await page.waitForFunction(n => document.querySelectorAll('#log em').length +
			rows.filter(r => r[3]).length === n, (n + 1) / 3);
	}
	await page.clock.resume();
	await page.waitForFunction(n => document.querySelectorAll('#log > div').length === n, want.length + 2);
	const got = await said(page), missing = '/c/*\xa0\xa0Messages may be missing here.';
	assert.equal(got.filter(l => l === missing).length, 2);
	const of = (list, subject) => list.filter(l => l.startsWith(subject) && l !== missing);
	for (const subject of ['/a', '/b', '/c'])
		assert.deepEqual(of(got, subject), of(want, subject));
	assert.ok(cable.heads.some(h => /^sec-websocket-protocol: sluice\.v1\r$/im.test(h)));
	assert.ok(!cable.heads.some(h => /eyJ/.test(h)), 'no token in a head');
});

test('a line that is cut for long: how many are missing is said', async t => {
	const s = await serve(t, [...MANY, '--buffer', '8K', '--max-message', '2K']), cable = await line(t, s);
	const page = await stopped(t, cable), total = 20;
	await publish(s, '/', 'first');
	await page.waitForFunction(() => count === 1);
	cable.cut();
	await state(page, 'reconnecting');
	for (let n = 1; n <= total; n++)
		await publish(s, '/', n + ' '.repeat(900));
	await tryUntil(page, 'connected');
	await page.waitForFunction(n => rows.at(-1)?.[2].startsWith(n + ' '), total);
	await page.clock.resume();
	await shows(page, 'log', total + ' ');
	const got = (await said(page)).map(l => l.trim()), missing = +/^(\d+) missing here\.$/.exec(got[1])[1];
	assert.ok(missing > 0);
	assert.deepEqual(got, ['first', `${missing} missing here.`,
		...Array.from({ length: total - missing }, (_, i) => String(missing + 1 + i))]);
});

test('a server that takes the call and says nothing', async t => {
	const s = await serve(t, MANY), cable = await line(t, s), page = await stopped(t, cable);
	cable.silent = true;
	cable.cut();
	await state(page, 'reconnecting');
	await tryNow(page);
	await shows(page, 'next', 'Trying now.');
	await page.clock.fastForward(15000);
	await shows(page, 'why', 'The server does not answer');
	cable.silent = false;
	cable.cut();
	await tryUntil(page, 'connected');
});

/* ---- renewal ---- */

const renewed = log => log.filter(l => /event=renew/.test(l)).length;

test('renewed when it is about to end, as often as there is reason to', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--enforce-expiry']);
	const r = await renewer(t, () => [200, token(30) + '\n']), old = token(50);
	const page = await open(t, s.port, `#t=${old}${r.hash}`, { clock: Date.now() - HOUR, renew: r.url });
	await page.context().addCookies([{ name: 'login', value: 'yes', domain: '127.0.0.1', path: '/' }]);
	const told = was => page.waitForFunction(was => ends && ends !== was && ends, was).then(h => h.jsonValue());
	const first = await told('');
	await page.clock.pauseAt(Date.now() - HOUR / 2);	/* more than half of the token's life is over */
	await s.log(/event=renew /);
	const second = await told(first);
	assert.equal(r.asked.length, 1, 'not at once again');
	await page.clock.fastForward(10e3);
	assert.equal(r.asked.length, 1, 'nor before half of that is over');
	const third = told(second);
	await page.clock.fastForward(10e3);
	await third;
	assert.equal(r.asked.length, 2);
	assert.equal(renewed(s.lines), 2);
	assert.equal(page.sockets.length, 1);
	assert.match(await text(page, 'why'), /^Since [\d:]+\.$/);
	const { url, method, headers } = r.asked[0];
	assert.deepEqual([method, url, headers.cookie], ['GET', '/token?for=me', 'login=yes']);
	assert.ok(!/eyJ|referer|authorization/i.test(JSON.stringify(headers)), 'nothing of the page goes there');
});

test('not renewed: it says why, and goes on until the end', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--enforce-expiry']);
	const r = await renewer(t, () => [200, token(60, { sub: 'somebody else' })]);
	const refused = { refusals: true, clock: Date.now() - HOUR, renew: r.url };
	const half = page => page.clock.pauseAt(Date.now() - HOUR / 2);
	const page = await open(t, s.port, `#t=${token(50)}${r.hash}`, refused);
	await page.waitForFunction(() => ends);
	await half(page);
	await shows(page, 'why', 'Not renewed: the fresh token was refused (renewal_mismatch). It ends at ');
	s.write('it goes on\n');
	await page.waitForFunction(() => count === 1);

	r.answer = () => [403, 'log in'];
	const late = await open(t, s.port, '#t=', refused);
	await state(late, 'refused');
	await late.evaluate(h => { location.hash = h; }, `t=${token(8)}${r.hash}`);
	await late.waitForFunction(() => ends);
	await half(late);
	await shows(late, 'why', 'Not renewed. What renews this link sends no token (403). It ends at ');
	assert.equal(await text(late, 'word'), 'Connected');
	await shows(late, 'word', 'Reconnecting');
	assert.equal(await text(late, 'why'), 'The token in this link has expired.');
	r.answer = () => [200, '<!doctype html><title>Log in</title>'];
	await late.clock.fastForward(1000 * await delay(late));
	await shows(late, 'word', 'Refused');
	assert.equal(await text(late, 'why'), 'What renews this link sends no token (200).');
	r.answer = () => [200, token()];
	await late.locator('#again').click();
	await state(late, 'connected');
});

test('reconnecting with tokens for one connection: each is fetched, nothing is lost', async t => {
	const s = await serve(t), cable = await line(t, s), r = await renewer(t, () => [200, token()]);
	const page = await stopped(t, cable, r.hash, { renew: r.url });
	for (let n = 1; n < 6; n += 2) {
		await publish(s, '/', String(n));
		await page.waitForFunction(n => count === n, n);
		cable.cut();
		await state(page, 'reconnecting');
		await publish(s, '/', String(n + 1));
		await tryUntil(page, 'connected');
		await page.waitForFunction(n => count === n, n + 1);
		assert.equal(r.asked.length, (n + 1) / 2);
	}
	await page.clock.resume();
	await saying(page, ['1', '2', '3', '4', '5', '6']);
	assert.equal(s.lines.filter(l => /reason=token_used/.test(l)).length, 3);

	/* The server goes when the token is fetched, and is back when that has expired. */
	await page.clock.pauseAt(await page.evaluate(() => Date.now() + 60e3));
	r.answer = () => {
		cable.silent = true;
		return [200, token(-10)];
	};
	cable.cut();
	const tries = page.sockets.length;
	const second = page.waitForEvent('websocket', { predicate: () => page.sockets.length === tries + 2 });
	await page.clock.fastForward(1000 * await delay(page));
	await second;
	await page.clock.fastForward(15e3);
	await shows(page, 'why', 'does not answer');
	r.answer = () => [200, token()];
	cable.silent = false;
	cable.cut();
	await tryUntil(page, 'connected');
	assert.equal(r.asked.length, 5);
	assert.equal(s.lines.filter(l => /reason=token_expired/.test(l)).length, 1);
});

test('renewing fails while the server is away: tried again, until it is refused', async t => {
	const s = await serve(t), cable = await line(t, s), r = await renewer(t, () => [503, '']);
	const page = await stopped(t, cable, r.hash, { renew: r.url });
	cable.cut();
	for (let n = 0; n < 3; n++) {
		await page.clock.fastForward(1000 * await delay(page));
		await shows(page, 'why', 'What renews this link sends no token (503).');
	}
	r.answer = () => [200, token(60, {}, 'another')];
	await tryUntil(page, 'refused');
	assert.match(await text(page, 'why'), /^The connection was lost\. This link was made for another server/);
	const asked = r.asked.length;
	await r.stop();
	await page.locator('#again').click();
	await state(page, 'reconnecting');
	assert.equal(await text(page, 'why'), 'What renews this link does not answer.');
	assert.equal(r.asked.length, asked);
});

test('a link that has no token but can get one, of the same server', async t => {
	const s = await serve(t), own = `http://127.0.0.1:${s.port}/my-token`;
	const page = await open(t, s.port, '', { renew: own });
	await state(page, 'refused');
	await page.route(own, route => route.fulfill({ body: token() }));
	await page.evaluate(() => { location.hash = 's=/a&renew=my-token'; });
	await state(page, 'connected');
	await publish(s, '/a', 'hello');
	await saying(page, ['hello']);
});

test('the list: Space, the button, scrolling up', async t => {
	const s = await serve(t);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	s.write('line\n'.repeat(150));
	await shows(page, 'count', '150');
	const pause = page.locator('#pause');
	for (const [hold, go] of [
		[() => page.keyboard.press('Space'), () => page.keyboard.press('Space')],
		[() => pause.click(), () => pause.press('Enter')],
		[() => page.evaluate(() => { document.getElementById('log').scrollTop = 10; }),
			() => page.evaluate(() => { const l = document.getElementById('log'); l.scrollTop = l.scrollHeight; })],
	]) {
		await hold();
		await shows(page, 'pause', 'Resume');
		const before = await rows(page);
		s.write('fresh\n');
		await shows(page, 'held', 'Paused, 1 new');
		assert.deepEqual(await rows(page), before);
		await go();
		await shows(page, 'pause', 'Pause');
		await page.waitForFunction(n => document.querySelectorAll('#log > div').length === n, before.length + 1);
		assert.match((await rows(page)).at(-1), /fresh$/);
	}
});

test('with the keyboard alone, named for those who do not see it', async t => {
	const s = await serve(t);
	const page = await open(t, s.port, '#t=' + token(), { refusals: true });
	await state(page, 'connected');
	s.write('{"a":1}\n');
	await page.locator('#lines').waitFor();
	const stops = [];
	for (let n = 0; n < 3; n++) {
		await page.keyboard.press('Tab');
		stops.push(await page.evaluate(() => {
			const e = document.activeElement;
			return e.id + (getComputedStyle(e).outlineStyle === 'solid' ? '' : ' without outline');
		}));
	}
	assert.deepEqual(stops, ['lines', 'pause', 'log']);
	for (const [role, name] of [['banner'], ['main'], ['status'], ['region', 'Values'],
		['region', 'Messages'], ['log', 'Messages'], ['button', 'Pause']])
		assert.equal(await page.getByRole(role, { name }).count(), 1, role);
	await s.stop();
	await page.getByRole('button', { name: 'Try again' }).waitFor();
});

test('a flood stays bounded', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--slow', 'wait']);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	const N = 20000, wide = JSON.stringify(Array.from({ length: 1000 }, (_, i) => i));
	let all = '';
	for (let i = 1; i <= N; i++)
		all += `{"n":${i},"text":"${'x'.repeat(i % 90)}"}\n`;
	s.write(`${wide}\n${'y'.repeat(60000)}\n${all}`);
	await shows(page, 'count', '20\u202f002');
	const list = await rows(page);
	assert.equal(list.length, 200);
	assert.ok(list.at(-1).includes(`"n":${N},`));
	assert.equal(Object.keys(await values(page)).length, 24);
	assert.deepEqual(await page.evaluate(() => {	/* a quarter of an hour, in one step */
		for (let i = 0; i < 1000; i++, lastAt += 1000)
			plot('\nn', i);
		return [lines.has('\nn'), lines.get('\nn').points.length, lines.size];
	}), [true, 240, 24], 'old points go, and lines that stand still');
	await page.keyboard.press('Space');
	await shows(page, 'pause', 'Resume');
	s.write('more\n'.repeat(1000));
	await shows(page, 'held', 'Paused, 1\u202f000 new');
	assert.equal(await page.evaluate(() => rows.length), 200);
	await page.keyboard.press('Space');
	s.write('z'.repeat(60000) + '\n');
	await shows(page, 'log', 'z (60\u202f000 characters)');
	assert.ok((await rows(page)).at(-1).length < 2100);
});

/* What a router might tell, the same each time. */
function* router() {
	let seed = 7, load = .4, temp = 48, rx = 183422311, tx = 20382117;
	const some = () => (seed = seed * 48271 % 2147483647) / 2147483647;
	for (let i = 0; ; i++) {
		const busy = i % 70 > 42 && i % 70 < 58;
		load += (busy ? 1.1 - load : .3 - load) * .2 + (some() - .5) * .12;
		temp += (44 + load * 9 - temp) * .06 + (some() - .5) * .3;
		rx += Math.round((busy ? 9e5 : 4e4) * (some() + .3));
		tx += Math.round((busy ? 3e4 : 5e3) * (some() + .3));
		yield JSON.stringify({
			cpu: { load: +load.toFixed(2), temp: +temp.toFixed(1) },
			mem: { free: Math.round(211800 - load * 9000 + some() * 400) },
			wan: { rx, tx },
			ping: [11.2, 8.1].map(ms => +(ms + some() * some() * (i % 31 ? 3 : 40)).toFixed(1)),
		}) + '\n';
		if (i % 6 === 0)
			yield `dnsmasq-dhcp[1412]: DHCPACK(br-lan) 192.168.1.${100 + i % 90} 3c:22:fb:91:0a:${10 + i % 80}\n`;
	}
}

test('at every size, by day and by night', async t => {
	const s = await serve(t), pages = [];
	const phone = { isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
	for (const [name, context] of Object.entries({
		'desktop-light': { colorScheme: 'light' },
		'desktop-dark': { colorScheme: 'dark' },
		'phone-dark': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, ...phone },
		'phone-320': { colorScheme: 'light', viewport: { width: 320, height: 568 }, ...phone },
		'phone-low': { colorScheme: 'dark', viewport: { width: 320, height: 256 }, ...phone },
	})) {
		const page = await open(t, s.port, '#t=' + token(), { ...context, refusals: true, clock: Date.now() - HOUR });
		await state(page, 'connected');
		pages.push([name, page]);
	}
	const source = router(), total = 100;
	for (let i = 1; i <= total; i++) {
		s.write(source.next().value);
		await Promise.all(pages.map(async ([, page]) => {	/* a second later, as the page sees it */
			await page.waitForFunction(n => count === n, i);
			await page.clock.fastForward(1000);
		}));
	}
	for (const [name, page] of pages) {
		await shows(page, 'count', String(total));
		await shows(page, 'lines', 'ping');
		await page.screenshot({ path: path.join(SHOTS, name + '.png') });
	}
	s.write(`{"${'long'.repeat(50)}":${'1'.repeat(15)},"small":-0.00000012345}\n${'unbroken'.repeat(60)}\n`);
	for (const [, page] of pages)
		await page.waitForFunction(n => count === n, total + 2);
	await s.stop();
	for (const [name, page] of pages) {
		await state(page, 'reconnecting');
		await shows(page, 'lines', 'small');
		assert.deepEqual(await page.evaluate(() => ['html', '#lines', '#log'].filter(e =>
			document.querySelector(e).scrollWidth > document.querySelector(e).clientWidth)), [],
			`${name} does not scroll sideways`);
		await page.screenshot({ path: path.join(SHOTS, name + '-down.png') });
	}
});

test('several subjects at every size', async t => {
	const s = await serve(t, MANY), pages = [], phone = { isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
	const grant = { permissions: { sub: ['/router', '/plant/*'] } };
	for (const [name, context] of Object.entries({
		'subjects-desktop': { colorScheme: 'light' },
		'subjects-phone': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, ...phone },
		'subjects-320': { colorScheme: 'light', viewport: { width: 320, height: 568 }, ...phone },
	})) {
		const cable = await line(t, s);
		const page = await open(t, cable.port, `#s=/router,/plant/*,/plant/office/forbidden,/bank&t=${token(600, grant)}`,
			{ ...context, refusals: true, clock: Date.now() - HOUR });
		await state(page, 'connected');
		await page.clock.pauseAt(Date.now() - HOUR / 2);
		pages.push([name, page, cable]);
	}
	const source = router(), send = async n => {
		for (let i = 0; i < n; i++) {
			await publish(s, '/router', source.next().value.trim());
			await publish(s, '/plant/boiler/cellar', JSON.stringify({ celsius: 60 + i % 7, 'pressure in the second circuit': 1.4 + i / 100 }));
			await Promise.all(pages.map(([, page]) => page.clock.fastForward(1000)));
		}
	};
	await send(20);
	pages.forEach(([, , cable]) => cable.cut());
	for (const [name, page] of pages) {
		await state(page, 'reconnecting');
		await tryUntil(page, 'connected');
		await page.waitForFunction(() => document.querySelectorAll('#log em').length + rows.filter(r => r[3]).length);
		await shows(page, 'why', 'Without /bank (not granted).');
	}
	await send(3);
	for (const [name, page] of pages) {
		await page.waitForFunction(() => count === 46);
		await page.clock.fastForward(2000);
		await shows(page, 'count', '46');
		assert.deepEqual(await page.evaluate(() => ['html', '#lines', '#log'].filter(e =>
			document.querySelector(e).scrollWidth > document.querySelector(e).clientWidth)), [],
			`${name} does not scroll sideways`);
		await page.screenshot({ path: path.join(SHOTS, name + '.png') });
	}
});
