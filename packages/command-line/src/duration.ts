/**
 * A time for people: 75 s as `1 min 15 s`, 7,300 s as `2 h 2 min`. Rounded once, so that there are never 60 seconds.
 *
 * @param seconds - not negative.
 */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
