// Numbers and states in words.

const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB'];

/** 1 byte, 999 bytes, 1.0 kB, 12.3 MB: powers of 1000, as disks and networks are sold. */
export function bytes(count) {
  if (count < 1000) return `${count} ${count === 1 ? 'byte' : 'bytes'}`;
  let value = count;
  let unit = -1;
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(1)} ${UNITS[unit]}`;
}

export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The percentage to show: 100 is for what is done. */
export function percent({ state, size, sent, stored }) {
  if (state === 'done') return 100;
  if (size === 0) return 0;
  return Math.min(99, Math.floor(((state === 'uploading' ? sent : stored) * 100) / size));
}

/** What goes on, in a few words. */
export function status(upload) {
  const { state, sent, size, retryAt, reason, leaving } = upload;
  if (leaving && state !== 'failed') return 'Deleting…';
  switch (state) {
    case 'queued': return 'Waits for its turn';
    case 'uploading':
      if (!upload.url) return 'Starting…';
      if (upload.asking) return 'Asking where to go on…';
      return sent >= size ? 'Finishing…' : `Uploading, ${percent(upload)} %`;
    case 'waiting': {
      const left = Math.ceil((retryAt - Date.now()) / 1000);
      return `${reason} ${left > 0 ? `Trying again in ${duration(left)}…` : 'Trying again…'}`;
    }
    case 'paused': return 'Paused';
    case 'done': return 'Done';
    case 'failed': return 'Stopped';
    default: return 'Unfinished. Choose the same file again to go on.';
  }
}

/** How far it is, and how fast. What has left is not yet what is stored, and said so where it matters. */
export function numbers({ state, size, sent, stored, rate, url }) {
  if (state === 'done') return '';
  if (state === 'uploading') {
    const parts = [`${bytes(sent)} of ${bytes(size)}`];
    if (rate > 0 && sent < size) parts.push(`${bytes(Math.round(rate))}/s`, `${duration((size - sent) / rate)} left`);
    return parts.join(' · ');
  }
  if (sent > stored) return `${bytes(sent)} of ${bytes(size)} sent, not yet confirmed`;
  return url ? `${bytes(stored)} of ${bytes(size)} stored` : '';
}
