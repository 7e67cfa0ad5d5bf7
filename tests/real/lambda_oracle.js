'use strict';
// What the AWS console's Lambda makes of an envelope, written from the rules in words, in the
// language whose numbers, names and JSON those rules mean. Reads pairs of lines, an envelope and
// logweir's document for its one event; prints every pair that disagrees, then how many it read.

const { isDeepStrictEqual } = require('node:util');

const KEYS = ['@id', '@timestamp', '@message', '@owner', '@log_group', '@log_stream'];
const REFUSED = ['_data_stream_timestamp', '_doc_count', '_feature', '_field_names', '_id', '_ignored',
  '_ignored_source', '_index', '_index_mode', '_inference_fields', '_nested_path', '_primary_term', '_routing',
  '_seq_no', '_size', '_source', '_tier', '_ts_routing_hash', '_tsid', '_type', '_version'];
const TAKEN = new Set([...KEYS, ...REFUSED, '@original_time', '@other_text']);

/** As it would arrive at the engine. */
const sent = (value) => JSON.parse(JSON.stringify(value));

/** The object that begins at the first brace, if the rest of the text is JSON. */
function tail(text) {
  const brace = text.search('{');
  if (brace === -1) return undefined;
  try { return JSON.parse(text.slice(brace)); } catch { return undefined; }
}

function numeric(value) {
  return !Number.isNaN(parseFloat(value)) && Number.isFinite(Number(value));
}

function fromExtracted(extracted) {
  const made = {};
  for (const name of Object.keys(extracted)) {
    const value = extracted[name];
    if (!value) continue;
    if (typeof value !== 'string') {
      // The Lambda throws on most of these. logweir writes them as they are.
      made[name] = value;
    } else if (numeric(value)) {
      made[name] = Number(value);
    } else {
      const object = tail(value);
      if (object !== undefined) made['$' + name] = object;
      made[name] = value;
    }
  }
  return made;
}

function expected(envelope) {
  const event = envelope.logEvents[0];
  const extracted = event.extractedFields;
  const made = extracted ? fromExtracted(extracted) : tail(event.message) ?? {};
  made['@id'] = event.id;
  made['@timestamp'] = new Date(Number(event.timestamp)).toISOString();
  made['@message'] = event.message;
  made['@owner'] = envelope.owner;
  made['@log_group'] = envelope.logGroup;
  made['@log_stream'] = envelope.logStream;
  return sent(made);
}

const badName = (name) => name.split('.').some((part) => part.trim() === '');
const half = (name) => !name.isWellFormed();

/** Whether no mapping takes a value: nested more than 18 deep, or with a name that engines refuse. */
function unfit(value, depth = 0) {
  if (value === null || typeof value !== 'object') return false;
  if (depth === 18) return true;
  const names = Array.isArray(value) ? [] : Object.keys(value);
  return names.some((name) => badName(name) || half(name)) ||
    Object.values(value).some((inner) => unfit(inner, depth + 1));
}

/** Puts back what logweir had to put aside. Returns what it put aside without need. */
function putBack(found, made) {
  const aside = Object.hasOwn(found, '@other_text') ? JSON.parse(found['@other_text']) : {};
  delete found['@other_text'];
  if (Object.hasOwn(aside, '@message')) {
    const names = Object.keys(made).filter((name) => !KEYS.includes(name));
    if (!names.some(half)) return ['@message'];
    const whole = aside['@message'];
    KEYS.forEach((key) => delete whole[key]);
    for (const name of Object.keys(whole)) set(found, name, whole[name]);
    return [];
  }
  const needless = [];
  for (const name of Object.keys(aside)) {
    // An extracted field is put aside as the text that it came as.
    const isNumber = typeof made[name] === 'number' && numeric(aside[name]);
    set(found, name, isNumber ? Number(aside[name]) : aside[name]);
    const needed = TAKEN.has(name.split('.')[0]) || badName(name) || unfit(aside[name]);
    if (!needed) needless.push(name);
  }
  return needless;
}

/** `object.__proto__ = …` would set something else. */
function set(object, name, value) {
  Object.defineProperty(object, name,
    { value: sent(value), enumerable: true, configurable: true, writable: true });
}

const lines = require('node:fs').readFileSync(0, 'utf8').split('\n');
let read = 0, fields = 0;
for (let at = 0; at + 1 < lines.length; at += 2) {
  const made = expected(JSON.parse(lines[at]));
  let problem;
  try {
    const found = JSON.parse(lines[at + 1]);
    const needless = putBack(found, made);
    if (needless.length > 0) problem = `put aside without need: ${JSON.stringify(needless)}`;
    else if (!isDeepStrictEqual(found, made)) problem = `the Lambda makes: ${JSON.stringify(made)}`;
  } catch (error) {
    problem = String(error);
  }
  if (problem) console.log(`${lines[at]}\n  logweir makes: ${lines[at + 1]}\n  ${problem}\n`);
  read += 1;
  fields += Object.keys(made).length - KEYS.length;
}
console.log(`read ${read} events with ${fields} fields`);
