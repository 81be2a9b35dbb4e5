import { expect, it } from 'vitest';
import { homeEnvironment } from '../../../../../builder/engines/docker/home-environment.ts';

it('tells the shell, Maven and Gradle where the home directory is', () => {
  expect(homeEnvironment('/home/.build', {})).toEqual({
    HOME: '/home/.build',
    MAVEN_OPTS: '-Duser.home=/home/.build',
    GRADLE_USER_HOME: '/home/.build/.gradle',
  });
});

it('what App.yaml sets stays', () => {
  const written = { MAVEN_OPTS: '-Xmx1g', GRADLE_USER_HOME: '/home/app/g', A: 'b' };

  expect(homeEnvironment('/home/.build', written)).toEqual({
    ...written,
    HOME: '/home/.build',
    MAVEN_OPTS: '-Duser.home=/home/.build -Xmx1g',
  });
});
