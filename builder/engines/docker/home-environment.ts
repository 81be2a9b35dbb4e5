/**
 * What makes programs use `home` as the home directory of the build user. Java takes it from the password file, where it is one for all applications and
 * cannot be written, so Maven and Gradle are told in their own variables; those of App.yaml stay beside it.
 */
export function homeEnvironment(
  home: string,
  environment: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const { MAVEN_OPTS: maven } = environment;
  return {
    GRADLE_USER_HOME: `${home}/.gradle`,
    ...environment,
    MAVEN_OPTS: `-Duser.home=${home}${maven === undefined ? '' : ` ${maven}`}`,
    HOME: home,
  };
}
