// Reads vitest's JSON report and prints `N passed, N failed` as its last line; exits 0 only when every test passed.
// Plain JavaScript, because it must also run on the machine's own Node.
import { readFileSync } from 'node:fs';

const [reportFile, status] = process.argv.slice(2);
const { passed, failed, remarks } = summarize(readReport(reportFile), Number(status));
for (const remark of remarks) process.stdout.write(`${remark}\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function summarize(report, exitCode) {
  if (report === undefined) {
    return { passed: 0, failed: 1, remarks: [`the test command ended with ${exitCode} and no report`] };
  }
  const remarks = [];
  let passed = 0;
  let failed = 0;
  for (const file of report.testResults ?? []) {
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed += 1;
      else {
        failed += 1;
        // Skipped, todo, pending: a test that did not run has not passed.
        remarks.push(`${test.status}: ${test.fullName}`);
      }
    }
    // A file that could not be loaded, or whose hooks failed, has no test to blame.
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')) {
      failed += 1;
      remarks.push(`failed: ${file.name}: ${file.message}`);
    }
  }
  if (passed + failed === 0) {
    failed += 1;
    remarks.push('no test ran');
  }
  // Unhandled errors and failed global hooks show in the exit code only.
  if (exitCode !== 0 && failed === 0) {
    failed += 1;
    remarks.push(`the test command ended with ${exitCode} although no test failed`);
  }
  return { passed, failed, remarks };
}
