// Numbers, times and durations in the language of the messages.
import { messages } from "./messages.ts";

const locale = messages.lang;
const numbers = new Intl.NumberFormat(locale);
const moments = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });
const clocks = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });

export function formatNumber(value: number): string {
  return numbers.format(value);
}

/** Such as "November 3, 2020 at 7:00 AM". */
export function formatMoment(milliseconds: number): string {
  return moments.format(milliseconds);
}

/** Such as "7:00:12 AM". */
export function formatClock(milliseconds: number): string {
  return clocks.format(milliseconds);
}

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
] as const;

/** The largest unit of which there are two, or else seconds: "40 seconds", "90 minutes", "3 days". */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [unit, length] = UNITS.find(([, length]) => whole >= 2 * length) ?? ["second", 1];
  const style = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 } as const;
  return new Intl.NumberFormat(locale, style).format(Math.floor(whole / length));
}
