// What can go wrong with an upload, and whether to retry by itself, to let the person retry, or to give up.

import { Refusal, Unreachable } from './tus.js';
import { t } from './words.js';

/** A failure that no retry by itself repairs. `again` tells whether the person may try again with the same file. */
export class Failure extends Error {
  constructor(message, { again = false, choose = false } = {}) {
    super(message);
    Object.assign(this, { again, choose });
  }
}

/** Whether the same request can succeed later, with nothing done about it. */
export function passes(problem) {
  if (problem instanceof Unreachable) return true;
  const { status } = problem;
  return [408, 423, 425, 429].includes(status) || (status >= 500 && status !== 501 && status !== 507);
}

/** Whether the upload can go on by itself: later, or once the server was asked what it has. */
export function retryable(problem) {
  return passes(problem) || [404, 409, 410].includes(problem.status);
}

/** Whether the server says that it has no such upload, or none that this page may use. */
export function isGone(problem) {
  return problem instanceof Refusal && [403, 404, 410].includes(problem.status);
}

/** Whether another client continues the upload. */
export function isTakenOver(problem) {
  return problem.code === 'ERR_UPLOAD_INTERRUPTED';
}

/** Trying again by hand: not where the same request gets the same answer, as for a file that is too large. */
export function mayTryAgain(problem) {
  if (problem instanceof Failure) return problem.again || problem.choose;
  return ![400, 405, 411, 412, 413, 414, 415, 422, 431, 501].includes(problem.status);
}

/** The sentence on why an upload waits. */
export function reasonFor(problem) {
  if (!navigator.onLine) return t('offline');
  if (problem instanceof Unreachable) return t(problem.midway ? 'connectionLost' : 'unreachable');
  return problem.status === 423 ? t('busy') : problem.message;
}
