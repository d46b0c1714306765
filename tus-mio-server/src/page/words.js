// Numbers and states in the reader's language.

import en from './lang-en.js';
import de from './lang-de.js';
import zh from './lang-zh.js';

const LANGUAGES = { en, de, zh };
const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB'];

/** The first of the browser's languages that the page has, else English. */
export const language =
  navigator.languages.map((name) => name.toLowerCase().split('-')[0]).find((name) => name in LANGUAGES) ?? 'en';

const text = LANGUAGES[language];
const decimal = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1, useGrouping: false });

/** The text of a key, made of the arguments. */
export function t(key, ...parts) {
  const entry = text[key];
  return typeof entry === 'function' ? entry(...parts) : entry;
}

/** Puts the texts of the language into the page: of elements with `data-text`, and labels with `data-label`. */
export function translate(root) {
  for (const element of root.querySelectorAll('[data-text]')) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll('[data-label]')) element.setAttribute('aria-label', t(element.dataset.label));
}

/** 1 byte, 999 bytes, 1.0 kB, 12.3 MB: powers of 1000, as disks and networks are sold. */
export function bytes(count) {
  if (count < 1000) return t('byteCount', count);
  let value = count;
  let unit = -1;
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${decimal.format(value)} ${UNITS[unit]}`;
}

export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return t('seconds', whole);
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return t('minutes', minutes);
  return t('hours', Math.floor(minutes / 60), minutes % 60);
}

/** The percentage to show: 100 is for what is done. */
export function percent({ state, size, sent, stored }) {
  if (state === 'done') return 100;
  if (size === 0) return 0;
  return Math.min(99, Math.floor(((state === 'uploading' ? sent : stored) * 100) / size));
}

/** The state in a few words. */
export function status(upload) {
  const { state, sent, size, retryAt, reason } = upload;
  switch (state) {
    case 'uploading':
      if (!upload.url) return t('starting');
      if (upload.asking) return t('asking');
      if (sent >= size) return t('finishing');
      return upload.parts > 1
        ? t('uploadingParts', t('percent', percent(upload)), upload.parts)
        : t('uploading', t('percent', percent(upload)));
    case 'waiting': {
      const left = Math.ceil((retryAt - Date.now()) / 1000);
      return t('waiting', reason, left > 0 ? duration(left) : '');
    }
    default: return t(state);
  }
}

/** How many bytes, and how fast. Bytes that were sent may not be stored yet, which is said where it matters. */
export function numbers({ state, size, sent, stored, rate, url }) {
  if (state === 'done' || state === 'cancelled' || state === 'deleting') return '';
  if (state === 'uploading') {
    const parts = [t('partOf', bytes(sent), bytes(size))];
    if (rate > 0 && sent < size) parts.push(t('perSecond', bytes(Math.round(rate))), t('left', duration((size - sent) / rate)));
    return parts.join(' · ');
  }
  if (sent > stored) return t('sentOf', bytes(sent), bytes(size));
  return url ? t('storedOf', bytes(stored), bytes(size)) : '';
}
